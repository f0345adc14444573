// Everything one rank holds during a run: arena, weights, model, readers, rules. Trainer, eval,
// verify, estimate and the benchmarks all build their runs here, so that they run the same thing.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "core/data/batch_reader.h"
#include "dist/staged_communicator.h"
#include "launcher/checkpoint/checkpoint.h"
#include "launcher/config/train_config.h"
#include "launcher/train/engine/evaluator.h"
#include "launcher/train/engine/step_digests.h"
#include "launcher/train/engine/step_engine.h"
#include "launcher/train/watchdog/disk_watch.h"

namespace blockstep {

struct SessionEnv {
  const Backend* backend = nullptr;
  RankGroup group;     // of the host: `data` is staged where the backend's memory is another
  int group_size = 0;  // ranks that weights are sharded over; 0: all
  ThreadPool* pool = nullptr;
  Tracer* tracer = nullptr;   // (optional)
  DiskWatch* disk = nullptr;  // (optional) told of waits for data
  int64_t arena_bytes = 0;    // of the one reservation
};

// Told of the slots that this rank has read for a step, before it computes them.
using SlotsRead = std::function<void(int64_t step, std::span<const SlotRecord>)>;

class Session {
 public:
  // Reads no weights: InitWeights or a checkpoint fills them, then Publish.
  static absl::StatusOr<std::unique_ptr<Session>> Create(const TrainConfig& config,
                                                         const LlamaConfig& model, SessionEnv env);

  // Fresh values, or those of model.path. Collective.
  absl::Status InitWeights();
  // After owned rows were filled: pinned units on all ranks see them. Collective.
  absl::Status PublishWeights();

  absl::StatusOr<std::unique_ptr<StepEngine>> MakeEngine(DirectiveSource* source,
                                                         std::function<bool()> stop_requested,
                                                         SaveHooks saves = {},
                                                         SlotsRead on_slots = nullptr);
  // Null if the configuration names no validation file. At most one of each is made.
  absl::StatusOr<std::unique_ptr<Evaluator>> MakeEvaluator();
  int64_t eval_slots() const { return eval_slots_; }

  OwnedWeights owned_weights();
  // Of them, what this rank saves and hashes: nothing where another group has the same rows.
  OwnedWeights counted_weights();
  // Of host code to weights and state, between steps.
  DeviceAccess access() const { return {.backend = env_.backend, .stream = compute_.get()}; }
  absl::StatusOr<std::string> WeightsHash();

  const TrainConfig& config() const { return config_; }
  Llama& model() { return *model_; }
  UnitStore& units() { return *units_; }
  Arena& arena() { return arena_; }
  Stream& compute() { return *compute_; }
  const Backend& backend() { return *env_.backend; }
  const RankGroup& group() const { return env_.group; }
  const Grid& grid() const { return parts_->grid(); }
  Communicator& control() { return *env_.group.control; }

  // Where the run stands in its data before `state.step`: epoch, slot, and of which order.
  void StoreDataCursor(TrainerState& state) const;
  // Goes on where `state` stands, whatever the number of slots of a step was until then. If the
  // order is another one (files, T, seed), no position of the old one means anything in it: the
  // epoch restarts, and the returned text says so. Empty: it continues.
  std::string ResumeData(const TrainerState& state);

 private:
  Session(const TrainConfig& config, SessionEnv env, Arena arena)
      : config_(config), env_(env), arena_(std::move(arena)) {}
  absl::Status Build(const LlamaConfig& model);
  absl::StatusOr<std::unique_ptr<BatchReader>> OpenData(const std::vector<std::string>& paths,
                                                        SlotOrderKind order);
  ReadSlots ReadTraining(SlotsRead on_slots) const;
  std::string DataOrder() const;

  TrainConfig config_;
  SessionEnv env_;
  std::unique_ptr<StepDigests> digests_;  // (optional) whose backend is env_'s then
  Arena arena_;
  std::unique_ptr<Stream> compute_;
  std::unique_ptr<StagedCommunicator> staged_;  // (optional) that is env_'s `data` then
  std::unique_ptr<GridParts> parts_;
  std::unique_ptr<Llama> model_;
  std::unique_ptr<UnitStore> units_;
  std::unique_ptr<UpdateRule> rule_;
  std::unique_ptr<BatchReader> train_, val_;
  int64_t eval_slots_ = 0;
  // Step s begins at position s*S + this of the order: not 0 after a resume with another S.
  int64_t data_offset_ = 0;
};

}  // namespace blockstep
