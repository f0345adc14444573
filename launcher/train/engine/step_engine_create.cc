// Construction of a StepEngine, apart from the step itself.
#include "core/base/status.h"
#include "core/tensor/sharding.h"
#include "launcher/train/engine/step_engine.h"

namespace blockstep {
namespace {

// Every rank runs the micro-steps of the rank with the most slots.
SlotSpan MakeSpan(const StepShape& shape) {
  const RankGroup& world = shape.grid.world;
  SlotSpan span{.slots = shape.slots};
  span.mine = SplitEvenly(shape.slots, world.size(), world.rank());
  int64_t most = 0;
  for (int r = 0; r < world.size(); ++r) {
    most = std::max(most, SplitEvenly(shape.slots, world.size(), r).size());
  }
  span.micro_steps = DivCeil(most, shape.micro_slots);
  return span;
}

absl::Status CheckShape(const StepShape& shape, Numerics numerics) {
  if (shape.slots < shape.grid.world.size()) {
    return InvalidArgument("batch.slots: expected at least one slot per rank, got ", shape.slots,
                           " slots for ", shape.grid.world.size(), " ranks");
  }
  if (numerics == Numerics::kSlotExact && shape.micro_slots != 1) {
    return InvalidArgument("numerics slot_exact: expected micro-steps of 1 slot, got ",
                           shape.micro_slots);
  }
  return absl::OkStatus();
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
      states_(o_.model->table(), o_.rules) {}

absl::StatusOr<std::unique_ptr<StepEngine>> StepEngine::Create(EngineOptions options) {
  RETURN_IF_ERROR(CheckShape(options.shape, options.numerics));
  RETURN_IF_ERROR(CheckRules(options));
  std::unique_ptr<StepEngine> engine(new StepEngine(std::move(options)));
  RETURN_IF_ERROR(engine->ReserveForRun());
  return engine;
}

absl::Status StepEngine::ReserveForRun() {
  // Row splits make more entries than tensors; every entry covers at least one row tile.
  int64_t most_entries = 0;
  for (const TensorInfo& t : o_.model->table().tensors) most_entries += DivCeil(t.rows, kRowTile);
  most_slots_ = std::max<int64_t>(MakeSpan(o_.shape).mine.size(), 1);
  ASSIGN_OR_RETURN(buffers_, StepBuffers::Create(*o_.backend, most_slots_, o_.tokens, most_entries,
                                                 o_.document_mask, *o_.arena));
  run_mark_ = phase_mark_ = o_.arena->GetMark();
  return TakeShape(o_.shape);
}

// Gives every step of `shape` its slots and a reducer.
absl::Status StepEngine::TakeShape(const StepShape& shape) {
  RETURN_IF_ERROR(CheckShape(shape, o_.numerics));
  const SlotSpan span = MakeSpan(shape);
  CHECK_LE(span.mine.size(), most_slots_);
  CHECK_LE(shape.micro_slots, o_.shape.micro_slots);
  // Weights and state are sharded by these; only a restart from a checkpoint deals them anew.
  CHECK_EQ(shape.grid.inside.size(), o_.shape.grid.inside.size());
  CHECK_EQ(shape.grid.inside.rank(), o_.shape.grid.inside.rank());
  ASSIGN_OR_RETURN(reducer_, GradReducer::Create({.table = &o_.model->table(),
                                                  .backend = o_.backend,
                                                  .data = shape.grid.inside.data,
                                                  .across = shape.grid.across,
                                                  .numerics = o_.numerics,
                                                  .accumulation = o_.accumulation,
                                                  .tracer = o_.tracer},
                                                 span));
  shape_ = shape;
  span_ = span;
  return absl::OkStatus();
}

}  // namespace blockstep
