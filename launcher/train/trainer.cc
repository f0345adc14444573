#include "launcher/train/trainer.h"

#include "core/base/status.h"
#include "core/base/trace.h"
#include "dist/agreement.h"

namespace blockstep {
Trainer::Trainer(TrainerOptions options) : o_(std::move(options)) {
  if (o_.observer == nullptr) o_.observer = &nobody_;
  if (o_.control == nullptr) o_.control = &nothing_;
}

absl::StatusOr<std::unique_ptr<Trainer>> Trainer::Create(TrainerOptions options) {
  std::unique_ptr<Trainer> trainer(new Trainer(std::move(options)));
  ASSIGN_OR_RETURN(trainer->evaluator_, trainer->o_.session->MakeEvaluator());
  TrainerOptions& o = trainer->o_;
  RunObserver* observer = o.observer;
  RunControl* control = o.control;
  SaveHooks hooks;
  if (o.run != nullptr) {
    Saver& saver = trainer->saver_.emplace(SaverOptions{
        .session = o.session,
        .run_folder = o.run->path,
        .tokenizer_files = o.tokenizer_files,
        .on_save = [observer](const SaveReport& save) { return observer->OnSave(save); },
        .disk = trainer->Disk(),
        .hook = o.save_hook});
    hooks = {.ordered = [control] { return control->SavesOrdered(); },
             .part_done = [&saver] { return saver.part_done(); },
             .before_commit = [&saver](const ActiveSet& set) { return saver.BeforeCommit(set); },
             .before_phase = [&saver] { return saver.BeforePhase(); }};
  }
  ASSIGN_OR_RETURN(trainer->engine_,
                   o.session->MakeEngine(
                       o.source, [control] { return control->StopRequested(); }, std::move(hooks),
                       [observer](int64_t step, std::span<const SlotRecord> slots) {
                         observer->OnSlots(step, slots);
                       }));
  return trainer;
}

absl::Status Trainer::Start() {
  if (o_.run != nullptr && !o_.run->resume_from.empty()) return Restore();
  return o_.session->InitWeights();
}

absl::StatusOr<TrainOutcome> Trainer::Run() {
  const TrainConfig& config = o_.session->config();
  TrainOutcome outcome;
  if (state_.step == 0) RETURN_IF_ERROR(Evaluate(0));
  while (state_.step < config.train.steps) {
    const int64_t began = Tracer::Now();
    At(RunStage::kStep);
    absl::StatusOr<StepResult> result = engine_->Run(state_.step);
    if (!result.ok() && engine_->undirected()) {
      // The step has not begun on any rank: what the one before left can be saved.
      outcome.end = absl::IsUnavailable(result.status()) ? TrainEnd::kOrphaned : TrainEnd::kRefused;
      outcome.why = std::string(Std(result.status().message()));
      break;
    }
    RETURN_IF_ERROR(result.status());
    ++state_.step;
    state_.tokens += result->report.tokens;
    state_.phase = result->phase;
    {
      const DiskWatch::Wait wait(Disk(), "metrics");
      RETURN_IF_ERROR(o_.observer->OnStep(*result, Tracer::SecondsSince(began)));
    }
    if (TooManyBadSteps(*result)) {
      outcome.end = TrainEnd::kNonFinite;
      const int64_t last_finite = state_.step - 1 - state_.bad_steps;
      outcome.why =
          Cat(state_.bad_steps, state_.bad_steps == 1 ? " step" : " consecutive steps",
              " with non-finite losses or gradients; ",
              last_finite < 0 ? "no finite step" : Cat("last finite step: ", last_finite));
      break;
    }
    const auto due = [&](int64_t every) { return every > 0 && state_.step % every == 0; };
    if (due(config.eval.every_steps) && state_.step < config.train.steps) {
      RETURN_IF_ERROR(Evaluate(state_.step));
    }
    if (saver_.has_value() && result->parts_done) RETURN_IF_ERROR(saver_->Advance());
    if (state_.step == config.train.steps) break;  // finished, also if asked to stop
    const bool ordered = result->saves_ordered > orders_done_;
    orders_done_ = result->saves_ordered;
    if ((ordered || due(config.checkpoint.every_steps)) && !result->stop) {
      RETURN_IF_ERROR(
          Save(PlansBackgroundSaves(config) ? SaveMode::kBackground : SaveMode::kHereAndNow));
    }
    if (result->stop) {
      outcome.end = TrainEnd::kStopped;
      break;
    }
  }
  if (outcome.end == TrainEnd::kFinished) RETURN_IF_ERROR(Evaluate(state_.step));
  RETURN_IF_ERROR(SaveLast());
  At(RunStage::kEnd);
  outcome.step = state_.step;
  outcome.last_eval = last_eval_;
  return outcome;
}

void Trainer::At(RunStage stage) {
  if (o_.watched == nullptr) return;
  o_.watched->step = state_.step;
  o_.watched->stage = stage;
}

bool Trainer::TooManyBadSteps(const StepResult& result) {
  state_.bad_steps = result.report.nonfinite > 0 ? state_.bad_steps + 1 : 0;
  return state_.bad_steps >= o_.session->config().train.max_bad_steps;
}

absl::Status Trainer::Evaluate(int64_t step) {
  if (evaluator_ == nullptr) return absl::OkStatus();
  At(RunStage::kEvaluate);
  Session& s = *o_.session;
  ASSIGN_OR_RETURN(last_eval_,
                   evaluator_->Run(s.eval_slots(), s.model(), s.units(), s.control(), s.compute()));
  if (last_eval_->Loss() < state_.best_eval_loss) {
    state_.best_eval_loss = last_eval_->Loss();
    state_.best_eval_step = step;
  }
  const DiskWatch::Wait wait(Disk(), "metrics");
  return o_.observer->OnEval(step, *last_eval_);
}

absl::StatusOr<std::string> Trainer::StateHash() {
  Session& s = *o_.session;
  RETURN_IF_ERROR(s.compute().Synchronize());
  return StateSha256(s.model().table(), CountedState(engine_->states(), s.grid()), s.access(),
                     &s.control());
}

absl::Status Trainer::Save(SaveMode mode) {
  if (!saver_.has_value() || saver_->announced_step() == state_.step) return absl::OkStatus();
  At(RunStage::kSave);
  RETURN_IF_ERROR(saver_->Await(AwaitedBy::kNextSave));
  const int64_t since = Tracer::Now();
  Session& s = *o_.session;
  state_.run_id = o_.run->run_id;
  state_.parent_run_id = o_.run->parent_run_id;
  s.StoreDataCursor(state_);
  StateToHash now = CountedState(engine_->states(), s.grid());
  state_.counters = std::move(now.counters);
  state_.config_hash = o_.config_hash;
  state_.config_text = o_.config_text;
  if (s.group().rank() == 0) RETURN_IF_ERROR(o_.control->PolicyState(state_.step, state_));
  return saver_->Save(state_, std::move(now.states), mode, since);
}

absl::Status Trainer::SaveLast() {
  if (!saver_.has_value()) return absl::OkStatus();
  At(RunStage::kSave);
  absl::Status status = saver_->Await(AwaitedBy::kEndOfRun);
  if (status.ok() && saver_->announced_step() != state_.step) status = Save(SaveMode::kHereAndNow);
  const int64_t announced = saver_->announced_step();
  if (status.ok() && announced == state_.step) return absl::OkStatus();
  if (status.ok()) status = saver_->last();
  return Annotate(status,
                  Cat("step ", state_.step, " was not saved; ",
                      announced < 0 ? "nothing was" : Cat("the last saved step is ", announced)));
}

// The coordinator continues from the checkpoint's policy state, so the directive of the step to run
// is known; states are filled only if that step stays in the phase that was saved.
absl::Status Trainer::Restore() {
  Session& s = *o_.session;
  ASSIGN_OR_RETURN(std::unique_ptr<CheckpointReader> reader,
                   CheckpointReader::Open(o_.run->resume_from, &s.control()));
  RETURN_IF_ERROR(reader->LoadWeights(s.owned_weights()));
  RETURN_IF_ERROR(s.PublishWeights());
  state_ = reader->trainer();
  saver_->set_announced_step(state_.step);
  const std::string note = s.ResumeData(state_);
  if (!note.empty()) o_.observer->OnNote(note);
  if (state_.step >= s.config().train.steps) return absl::OkStatus();
  const absl::StatusOr<Directive> directive = o_.source->Await(state_.step);
  // A coordinator that has gone may have told some ranks only.
  const std::string what = Cat("directive of step ", state_.step);
  RETURN_IF_ERROR(AgreeOnStatus(&s.control(), directive.status(), what));
  if (directive->kind != DirectiveKind::kTrain || directive->phase != state_.phase) {
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(engine_->EnterPhase(*directive, state_.step));
  RETURN_IF_ERROR(s.compute().Synchronize());
  RETURN_IF_ERROR(reader->LoadStates(StateOf(engine_->states()).states, s.access()));
  for (EntryState& entry : engine_->states().entries()) {
    for (const EntryCounter& counter : state_.counters) {
      if (counter.tensor == entry.entry.tensor && counter.rows == entry.entry.rows) {
        entry.step = counter.updates;
      }
    }
  }
  return absl::OkStatus();
}

StateToHash StateOf(EntryStates& states) {
  StateToHash all;
  for (const EntryState& state : states.entries()) {
    for (size_t i = 0; i < state.specs.size(); ++i) {
      all.states.push_back({.tensor = state.entry.tensor,
                            .rows = state.entry.rows,
                            .name = state.specs[i].name,
                            .layout = state.specs[i].layout,
                            .view = state.tensors[i],
                            .row0 = state.rows.begin});
    }
    all.counters.push_back({state.entry.tensor, state.entry.rows, state.step});
  }
  return all;
}

StateToHash CountedState(EntryStates& states, const Grid& grid) {
  StateToHash all = StateOf(states);
  if (grid.counts()) return all;
  for (StateSlice& slice : all.states) slice.view = slice.view.Rows(0, 0);
  return all;
}

}  // namespace blockstep
