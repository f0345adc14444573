// One training step on one rank: the only place that orders it. Prepare(step) ends with reduced
// gradients and agreement of all ranks, no weight changed; Commit(step) updates what this rank owns
// and publishes it. docs/architecture.md walks down from Run.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "core/base/trace.h"
#include "core/step/directive.h"
#include "core/step/update_rule.h"
#include "dist/grad_reducer.h"
#include "dist/grid.h"
#include "dist/unit_store.h"
#include "launcher/train/engine/entry_states.h"
#include "launcher/train/engine/step_buffers.h"
#include "launcher/train/engine/step_exchange.h"
#include "launcher/train/engine/step_notes.h"
#include "model/llama.h"

namespace blockstep {

// What a background save needs of a step. Each may be empty.
struct SaveHooks {
  std::function<int64_t()> ordered;  // how many times people asked for one; polled once a step
  std::function<bool()> part_done;   // this rank is not behind with a save under way; once a step
  std::function<absl::Status(const ActiveSet& set)> before_commit;  // train entries change next
  std::function<absl::Status()> before_phase;  // another begins; on all ranks at the same step
};

// Who takes part in a step and how its slots are dealt. May differ from step to step, alike on all
// ranks; weights stay sharded as the grid's groups are.
struct StepShape {
  Grid grid;
  int64_t slots = 0;        // S, of the step over all ranks
  int64_t micro_slots = 1;  // B, most slots of one micro-step
  friend bool operator==(const StepShape&, const StepShape&) = default;
};

struct StepArgs {
  int64_t step = 0;
  int64_t first_slot = 0;     // position in the data order
  int64_t schedule_step = 0;  // that the learning rate is read at
  StepShape shape;
};

struct EngineOptions {
  const Backend* backend = nullptr;
  StepShape shape;  // the one that buffers are made for: no step has more slots on a rank
  int group_index = 0;
  Llama* model = nullptr;  // reserved for (micro_slots, tokens)
  UnitStore* units = nullptr;
  Stream* compute = nullptr;
  Arena* arena = nullptr;
  Tracer* tracer = nullptr;    // (optional)
  StepNotes* notes = nullptr;  // (optional) of StepDigests, `backend` is its backend()

  int64_t tokens = 0;  // T
  uint64_t seed = 0;
  Numerics numerics = Numerics::kFast;
  GradAccumulation accumulation = GradAccumulation::kLocal;
  DocumentMask document_mask = DocumentMask::kOff;
  double clip_norm = 0;       // 0: off
  bool measure_adam = false;  // fills TensorNorm::adam_squared_norm; one more small exchange

  std::vector<const UpdateRule*> rules;
  std::function<double(int64_t step)> learning_rate;  // read at update time
  ReadSlots read_slots;
  DirectiveSource* source = nullptr;
  std::function<bool()> stop_requested;  // polled once per step; signals, coordinator
  SaveHooks saves;
};

struct StepResult {
  StepReport report;
  double learning_rate = 0;
  double grad_norm = 0;       // of the averaged gradient over train entries, before clipping
  bool committed = false;     // false: sweep, or non-finite values
  bool stop = false;          // some rank was asked to stop after this step
  bool parts_done = false;    // every rank said SaveHooks::part_done
  int64_t saves_ordered = 0;  // the most that SaveHooks::ordered said on a rank
  std::string label;          // of the directive
  int64_t phase = 0;
};

class StepEngine {
 public:
  static absl::StatusOr<std::unique_ptr<StepEngine>> Create(EngineOptions options);

  absl::StatusOr<StepResult> Run(const StepArgs& args);
  // Step `step` of a run whose steps all have the shape of EngineOptions and follow each other.
  absl::StatusOr<StepResult> Run(int64_t step);
  // After Run failed: the step has no directive that all ranks hold. It has not begun on any of
  // them, and each of them knows.
  bool undirected() const { return undirected_; }

  // Where a run continues: the state of the current phase, for checkpoints. A restored engine
  // enters the phase of `directive` at `step`, after which states() can be filled.
  EntryStates& states() { return states_; }
  int64_t phase() const { return phase_; }
  absl::Status EnterPhase(const Directive& directive, int64_t step);

  // After Run, until the next: the step's gradients, by entry of its active set.
  const GradReducer& reducer() const { return *reducer_; }

 private:
  explicit StepEngine(EngineOptions options);
  absl::Status ReserveForRun();
  absl::Status TakeShape(const StepShape& shape);

  absl::Status Reshape(const StepShape& shape);
  absl::StatusOr<StepResult> Train(const Directive& directive, const StepArgs& args);
  absl::StatusOr<StepResult> Sweep(const Directive& directive, const StepArgs& args);
  absl::StatusOr<ExchangeResult> Prepare(const StepArgs& args);
  absl::Status Commit(const ExchangeResult& agreed, const StepArgs& args, StepResult& result);

  absl::Status BeginSet(const ActiveSet& set);
  absl::Status ReadSlotsOf(const StepArgs& args);
  absl::Status PassOverSlots(const StepArgs& args);
  Range MicroStepSlots(int64_t micro_step) const;
  absl::Status Fence();
  absl::Status MeasureNorms();
  absl::Status ReportDirections(StepReport& report);
  RankWord Word(int64_t step) const;
  void FillReport(const ExchangeResult& agreed, int64_t step, StepResult& result) const;
  // The averaged gradient is (reduced sum) * this: dW is that of the loss sum over S*T.
  double MeanScale(const ExchangeResult& agreed) const;

  EngineOptions o_;
  StepNotes no_notes_;
  StepNotes& notes_;  // those of o_, or none
  StepShape shape_;   // of the step in hand
  SlotSpan span_;
  int64_t most_slots_ = 0;  // on this rank, of any step
  std::unique_ptr<GradReducer> reducer_;
  EntryStates states_;
  StepBuffers buffers_;
  std::optional<TokenCount> token_count_;  // of the batch in hand, under way
  ActiveSet set_;                          // of the step in hand, probes included
  bool set_begun_ = false;
  int64_t phase_ = -1;
  bool undirected_ = false;
  int64_t agreed_step_ = -1;  // all ranks are known to hold the same directive for this step
  Arena::Mark run_mark_{}, phase_mark_{};
};

}  // namespace blockstep
