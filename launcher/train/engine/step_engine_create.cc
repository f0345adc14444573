// Construction of a StepEngine, apart from the step itself.
#include "core/base/status.h"
#include "core/tensor/sharding.h"
#include "launcher/train/engine/step_engine.h"

namespace blockstep {
namespace {

// Every rank runs the micro-steps of the rank with the most slots.
SlotSpan MakeSpan(const EngineOptions& o) {
  SlotSpan span{.slots = o.slots};
  span.mine = SplitEvenly(o.slots, o.grid.world.size(), o.grid.world.rank());
  int64_t most = 0;
  for (int r = 0; r < o.grid.world.size(); ++r) {
    most = std::max(most, SplitEvenly(o.slots, o.grid.world.size(), r).size());
  }
  span.micro_steps = DivCeil(most, o.micro_slots);
  return span;
}

absl::Status CheckRules(const EngineOptions& o) {
  for (const UpdateRule* rule : o.rules) {
    if (o.measure_adam && !rule->has_direction()) {
      return InvalidArgument(
          "update rule '", rule->name(),
          "' keeps no moments; policy.score adam and policy.mode paper need them");
    }
    if (rule->commits_in_backward() && o.clip_norm > 0) {
      return InvalidArgument("update rule '", rule->name(), "' updates inside backward; clip_norm ",
                             o.clip_norm, " needs every gradient first: set clip_norm to 0");
    }
  }
  return absl::OkStatus();
}

}  // namespace

StepEngine::StepEngine(EngineOptions options)
    : o_(std::move(options)),
      notes_(o_.notes == nullptr ? no_notes_ : *o_.notes),
      span_(MakeSpan(o_)),
      states_(o_.model->table(), o_.rules) {}

absl::StatusOr<std::unique_ptr<StepEngine>> StepEngine::Create(EngineOptions options) {
  if (options.slots < options.grid.world.size()) {
    return InvalidArgument("batch.slots: expected at least one slot per rank, got ", options.slots,
                           " slots for ", options.grid.world.size(), " ranks");
  }
  if (options.numerics == Numerics::kSlotExact && options.micro_slots != 1) {
    return InvalidArgument("numerics slot_exact: expected micro-steps of 1 slot, got ",
                           options.micro_slots);
  }
  RETURN_IF_ERROR(CheckRules(options));
  std::unique_ptr<StepEngine> engine(new StepEngine(std::move(options)));
  RETURN_IF_ERROR(engine->ReserveForRun());
  return engine;
}

absl::Status StepEngine::ReserveForRun() {
  // Row splits make more entries than tensors; every entry covers at least one row tile.
  int64_t most_entries = 0;
  for (const TensorInfo& t : o_.model->table().tensors) most_entries += DivCeil(t.rows, kRowTile);
  ASSIGN_OR_RETURN(
      buffers_, StepBuffers::Create(*o_.backend, std::max<int64_t>(span_.mine.size(), 1), o_.tokens,
                                    most_entries, o_.document_mask, *o_.arena));
  ASSIGN_OR_RETURN(reducer_, GradReducer::Create({.table = &o_.model->table(),
                                                  .backend = o_.backend,
                                                  .data = o_.grid.inside.data,
                                                  .across = o_.grid.across,
                                                  .numerics = o_.numerics,
                                                  .accumulation = o_.accumulation,
                                                  .tracer = o_.tracer},
                                                 span_));
  run_mark_ = phase_mark_ = o_.arena->GetMark();
  return absl::OkStatus();
}

}  // namespace blockstep
