// Everything one rank holds during a run: arena, weights, model, readers, rules. Trainer, eval,
// verify, estimate and the benchmarks all build their runs here, so that they run the same thing.
#pragma once

#include <memory>

#include "core/data/batch_reader.h"
#include "launcher/config/train_config.h"
#include "launcher/trainer/checkpoint/checkpoint.h"
#include "launcher/trainer/engine/evaluator.h"
#include "launcher/trainer/engine/step_engine.h"

namespace blockstep {

struct SessionEnv {
  const Backend* backend = nullptr;
  Communicator* group = nullptr;
  ThreadPool* pool = nullptr;
  Tracer* tracer = nullptr;  // (optional)
  int64_t arena_bytes = 0;   // of the one reservation
};

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
                                                         SaveHooks saves = {});
  // Null if the configuration names no validation file. At most one of each is made.
  absl::StatusOr<std::unique_ptr<Evaluator>> MakeEvaluator();
  int64_t eval_slots() const { return eval_slots_; }

  OwnedWeights owned_weights();
  absl::StatusOr<std::string> WeightsHash();

  const TrainConfig& config() const { return config_; }
  Llama& model() { return *model_; }
  UnitStore& units() { return *units_; }
  Arena& arena() { return arena_; }
  Stream& compute() { return *compute_; }
  const Backend& backend() { return *env_.backend; }
  Communicator& group() { return *env_.group; }
  const BatchReader* train_data() const { return train_.get(); }

 private:
  Session(const TrainConfig& config, SessionEnv env, Arena arena)
      : config_(config), env_(env), arena_(std::move(arena)) {}
  absl::Status Build(const LlamaConfig& model);
  absl::StatusOr<std::unique_ptr<BatchReader>> OpenData(const std::vector<std::string>& paths,
                                                        SlotOrderKind order);

  TrainConfig config_;
  SessionEnv env_;
  Arena arena_;
  std::unique_ptr<Stream> compute_;
  std::unique_ptr<Llama> model_;
  std::unique_ptr<UnitStore> units_;
  std::unique_ptr<UpdateRule> rule_;
  std::unique_ptr<BatchReader> train_, val_;
  int64_t eval_slots_ = 0;
};

// The model a configuration names: folder, config.json or preset.
absl::StatusOr<LlamaConfig> ModelOf(const TrainConfig& config);

}  // namespace blockstep
