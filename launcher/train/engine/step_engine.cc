#include "launcher/train/engine/step_engine.h"

#include <cmath>

#include "core/base/status.h"
#include "optim/clip.h"

namespace blockstep {

absl::StatusOr<StepResult> StepEngine::Run(int64_t step) {
  return Run({.step = step,
              .first_slot = step * o_.shape.slots,
              .schedule_step = step,
              .shape = o_.shape});
}

absl::StatusOr<StepResult> StepEngine::Run(const StepArgs& args) {
  const int64_t step = args.step;
  if (!(args.shape == shape_)) RETURN_IF_ERROR(Reshape(args.shape));
  const absl::StatusOr<Directive> awaited = o_.source->Await(step);
  undirected_ = false;
  if (agreed_step_ != step) {
    RETURN_IF_ERROR(AgreeOnDirective(*shape_.grid.world.control, step, awaited, &undirected_));
  }
  ASSIGN_OR_RETURN(const Directive directive, awaited);
  ASSIGN_OR_RETURN(StepResult result, directive.kind == DirectiveKind::kSweep
                                          ? Sweep(directive, args)
                                          : Train(directive, args));
  RETURN_IF_ERROR(notes_.EndStep(*o_.compute));
  result.label = directive.label;
  result.phase = directive.phase;
  if (shape_.grid.world.rank() == 0) RETURN_IF_ERROR(o_.source->Report(result.report));
  return result;
}

// Nothing of the shape before is under way any more, and buffers of the set are made anew.
absl::Status StepEngine::Reshape(const StepShape& shape) {
  RETURN_IF_ERROR(Fence());
  RETURN_IF_ERROR(TakeShape(shape));
  set_begun_ = false;
  return absl::OkStatus();
}

absl::StatusOr<StepResult> StepEngine::Train(const Directive& directive, const StepArgs& args) {
  RETURN_IF_ERROR(EnterPhase(directive, args.step));
  ASSIGN_OR_RETURN(const ExchangeResult agreed, Prepare(args));
  StepResult result;
  FillReport(agreed, args.step, result);
  RETURN_IF_ERROR(Commit(agreed, args, result));
  return result;
}

// Gradients of every entry, reduced to their owners; one exchange. No weight has changed.
absl::StatusOr<ExchangeResult> StepEngine::Prepare(const StepArgs& args) {
  const int64_t step = args.step;
  notes_.BeginPass(step, set_, o_.model->table());
  RETURN_IF_ERROR(ReadSlotsOf(args));
  RETURN_IF_ERROR(PassOverSlots(args));
  notes_.Gradients(*reducer_, *o_.compute);
  RETURN_IF_ERROR(MeasureNorms());
  StepExchange exchange(*shape_.grid.world.control, Word(step),
                        buffers_.Norms(set_.entries.size()));
  ASSIGN_OR_RETURN(ExchangeResult agreed, exchange.Finish());
  ASSIGN_OR_RETURN(agreed.tokens, token_count_->Total());
  notes_.Agreed(agreed);
  agreed_step_ = agreed.next_agreed ? step + 1 : -1;
  return agreed;
}

absl::Status StepEngine::Commit(const ExchangeResult& agreed, const StepArgs& args,
                                StepResult& result) {
  if (result.report.nonfinite > 0) return absl::OkStatus();
  if (o_.saves.before_commit) RETURN_IF_ERROR(o_.saves.before_commit(set_));
  const double mean = MeanScale(agreed);
  const float grad_scale = static_cast<float>(mean * ClipFactor(result.grad_norm, o_.clip_norm));
  buffers_.SetGradScale(grad_scale, *o_.compute);
  result.learning_rate = o_.learning_rate(args.schedule_step);
  notes_.BeginUpdates(grad_scale, result.learning_rate);
  if (o_.measure_adam) buffers_.ClearNorms(set_.entries.size(), *o_.compute);  // exchanged: free
  size_t next = 0;
  for (size_t i = 0; i < set_.entries.size(); ++i) {
    const ActiveEntry& entry = set_.entries[i];
    if (entry.role != Role::kTrain) continue;
    EntryState& state = states_.entries()[next++];
    ++state.step;
    if (state.rows.empty()) continue;
    const int64_t owned = o_.units->OwnedRange(entry.tensor).begin;
    const UpdateArgs args = {
        .param =
            o_.units->Owned(entry.tensor).Rows(state.rows.begin - owned, state.rows.end - owned),
        .grad = reducer_->Reduced(static_cast<int>(i)),
        .states = state.tensors,
        .step = state.step,
        .lr = static_cast<float>(result.learning_rate * entry.lr_scale),
        .decay = o_.model->table().tensors[entry.tensor].decay,
        .grad_scale = buffers_.grad_scale()};
    const UpdateRule& rule = states_.rule(entry);
    rule.Update(*o_.backend->kernels, *o_.compute, args);
    if (o_.measure_adam && shape_.grid.counts()) {
      rule.MeasureDirection(*o_.backend->kernels, *o_.compute, args, buffers_.norm(i));
    }
    notes_.Updated(static_cast<int>(i), state, args.param, *o_.compute);
  }
  result.committed = true;
  if (o_.measure_adam) RETURN_IF_ERROR(ReportDirections(result.report));
  return o_.units->Publish(set_, *o_.compute);
}

// Norms of sets that do not fit at once: each is a pass over the same slots; nothing is updated.
absl::StatusOr<StepResult> StepEngine::Sweep(const Directive& directive, const StepArgs& args) {
  RETURN_IF_ERROR(Fence());
  phase_ = -1;
  states_.Clear();
  o_.arena->ReleaseTo(run_mark_);
  phase_mark_ = run_mark_;
  StepResult result;
  for (const ActiveSet& set : directive.sets) {
    RETURN_IF_ERROR(BeginSet(set));
    ASSIGN_OR_RETURN(const ExchangeResult agreed, Prepare(args));
    StepReport before = std::move(result.report);
    FillReport(agreed, args.step, result);
    result.report.nonfinite += before.nonfinite;
    result.report.norms.insert(result.report.norms.begin(), before.norms.begin(),
                               before.norms.end());
    result.stop |= agreed.stop;
  }
  return result;
}

absl::Status StepEngine::EnterPhase(const Directive& directive, int64_t step) {
  const ActiveSet set = ActiveSetFor(directive, o_.group_index, step, o_.seed, o_.model->table());
  const bool new_phase = directive.phase != phase_;
  if (!new_phase && set_begun_ && set == set_) return absl::OkStatus();
  if (new_phase) {
    if (o_.saves.before_phase) RETURN_IF_ERROR(o_.saves.before_phase());
    RETURN_IF_ERROR(Fence());
    o_.arena->ReleaseTo(run_mark_);
    RETURN_IF_ERROR(states_.Begin(set, shape_.grid.inside.size(), shape_.grid.inside.rank(),
                                  *o_.backend->kernels, *o_.compute, *o_.arena));
    phase_mark_ = o_.arena->GetMark();
    phase_ = directive.phase;
  }
  CHECK(states_.Matches(set));
  return BeginSet(set);
}

// Buffers for exactly this set. Other probes in the same phase cost no host wait: what the last
// step left to do with the old ones is ahead on the compute stream, where all use of the new ones
// begins.
absl::Status StepEngine::BeginSet(const ActiveSet& set) {
  o_.arena->ReleaseTo(phase_mark_, o_.compute);
  RETURN_IF_ERROR(Validate(set, o_.model->table()));
  set_ = set;
  set_begun_ = true;
  RETURN_IF_ERROR(reducer_->BeginPhase(set, *o_.arena));
  return o_.model->BeginPhase(set, *o_.arena);
}

absl::Status StepEngine::Fence() {
  RETURN_IF_ERROR(o_.compute->Synchronize());
  return shape_.grid.world.data->Synchronize();
}

// Of this rank's slots of a step.
Range StepEngine::MicroStepSlots(int64_t micro_step) const {
  return Intersect({micro_step * shape_.micro_slots, (micro_step + 1) * shape_.micro_slots},
                   {0, span_.mine.size()});
}

// After this every size that the step's messages have is known on the host.
absl::Status StepEngine::ReadSlotsOf(const StepArgs& args) {
  RETURN_IF_ERROR(buffers_.Read(o_.read_slots, args.first_slot + span_.mine.begin,
                                span_.mine.size(), *o_.compute));
  std::vector<RowIds> ids;
  for (int64_t m = 0; m < span_.micro_steps; ++m) ids.push_back(buffers_.Ids(MicroStepSlots(m)));
  RETURN_IF_ERROR(o_.units->PlanRows(ids));
  token_count_.emplace(*shape_.grid.world.control, buffers_.CountedTokens(span_.mine.size()),
                       args.step);
  return absl::OkStatus();
}

absl::Status StepEngine::PassOverSlots(const StepArgs& args) {
  const float scale = static_cast<float>(1.0 / static_cast<double>(shape_.slots * o_.tokens));
  for (int64_t m = 0; m < span_.micro_steps; ++m) {
    const Range local = MicroStepSlots(m);
    const MicroBatch batch = local.empty() ? MicroBatch{} : buffers_.Batch(local);
    reducer_->BeginMicroStep(m, batch.slots);
    const ModelPorts ports =
        notes_.BeginSlots(args.first_slot + span_.mine.begin + local.begin, batch.slots,
                          {.units = o_.units, .sink = reducer_.get()});
    RETURN_IF_ERROR(o_.model->ForwardBackward(batch, scale, *ports.units, *ports.sink, *o_.compute,
                                              buffers_.Loss(local.begin)));
    notes_.EndSlots();
  }
  return reducer_->Finish(*o_.compute);
}

absl::Status StepEngine::MeasureNorms() {
  buffers_.ClearNorms(set_.entries.size(), *o_.compute);
  for (size_t i = 0; i < set_.entries.size(); ++i) {
    const TensorView reduced = reducer_->Reduced(static_cast<int>(i));
    if (reduced.size() == 0 || !shape_.grid.counts()) continue;
    o_.backend->kernels->squared_norm(*o_.compute, {.x = reduced, .sum = buffers_.norm(i)});
  }
  buffers_.FetchLosses(span_.mine.size(), *o_.compute);
  buffers_.FetchNorms(set_.entries.size(), *o_.compute);
  RETURN_IF_ERROR(o_.compute->Synchronize());
  return shape_.grid.world.data->status();
}

// What owners measured while they updated, summed over ranks, for train entries.
absl::Status StepEngine::ReportDirections(StepReport& report) {
  buffers_.FetchNorms(set_.entries.size(), *o_.compute);
  RETURN_IF_ERROR(o_.compute->Synchronize());
  ASSIGN_OR_RETURN(const std::vector<ExactSum> sums,
                   ExchangeSums(*shape_.grid.world.control, buffers_.Norms(set_.entries.size()),
                                Cat("directions of step ", report.step)));
  for (size_t i = 0; i < sums.size(); ++i) {
    if (report.norms[i].role != Role::kTrain) continue;
    report.norms[i].adam_squared_norm = sums[i].ToDouble();
  }
  return absl::OkStatus();
}

RankWord StepEngine::Word(int64_t step) const {
  RankWord word{.step = step};
  word.loss = buffers_.LossSum(span_.mine.size());
  const Directive* next = o_.source->TryAwait(step + 1);
  if (next != nullptr) {
    word.next_hash = next->Hash();
    word.next_through = next->through;
  }
  word.stop = o_.stop_requested && o_.stop_requested() ? 1 : 0;
  word.part_done = !o_.saves.part_done || o_.saves.part_done() ? 1 : 0;
  word.saves_ordered = o_.saves.ordered ? o_.saves.ordered() : 0;
  return word;
}

double StepEngine::MeanScale(const ExchangeResult& agreed) const {
  if (agreed.tokens == 0) return 0.0;
  return static_cast<double>(shape_.slots * o_.tokens) / static_cast<double>(agreed.tokens);
}

void StepEngine::FillReport(const ExchangeResult& agreed, int64_t step, StepResult& result) const {
  StepReport& report = result.report;
  report = {.step = step,
            .loss_sum = agreed.loss.ToDouble(),
            .tokens = agreed.tokens,
            .nonfinite = agreed.loss.bad};
  const double mean = MeanScale(agreed);
  double train = 0;
  for (size_t i = 0; i < set_.entries.size(); ++i) {
    const ActiveEntry& entry = set_.entries[i];
    const double squared = agreed.norms[i].ToDouble() * mean * mean;
    report.nonfinite += agreed.norms[i].bad;
    report.norms.push_back(
        {.tensor = entry.tensor,
         .role = entry.role,
         .squared_norm = squared,
         .elements = entry.rows.size() * o_.model->table().tensors[entry.tensor].cols});
    if (entry.role == Role::kTrain) train += squared;
  }
  result.grad_norm = std::sqrt(train);
  result.stop = agreed.stop;
  result.parts_done = agreed.parts_done;
  result.saves_ordered = agreed.saves_ordered;
}

}  // namespace blockstep
