#include "launcher/run/rank_observer.h"

#include "core/base/status.h"
#include "launcher/cli/text_writer.h"

namespace blockstep {

absl::Status RankObserver::Open(const TrainConfig& config, const RunFolder& run) {
  absl::Status status;
  if (rank_ == 0) {
    auto console = Console::Open(config, run, run.resume_step, ranks_);
    status = console.status();
    if (console.ok()) console_ = *std::move(console);
  }
  if (config.log.data_ledger) {
    auto ledger = DataLedger::Open({.folder = run.ledger_path(),
                                    .rank = rank_,
                                    .ranks = ranks_,
                                    .next_step = run.resume_step});
    status.Update(ledger.status());
    if (ledger.ok()) ledger_.emplace(*std::move(ledger));
  }
  return status;
}

void RankObserver::ShowHeldNotes() {
  for (const std::string& text : held_) OnNote(text);
  held_.clear();
}

absl::Status RankObserver::OnStep(const StepResult& step, double seconds) {
  return console_ == nullptr ? absl::OkStatus() : console_->OnStep(step, seconds);
}

absl::Status RankObserver::OnEval(int64_t step, const EvalResult& eval) {
  return console_ == nullptr ? absl::OkStatus() : console_->OnEval(step, eval);
}

absl::Status RankObserver::OnSave(const SaveReport& save) {
  return console_ == nullptr ? absl::OkStatus() : console_->OnSave(save);
}

void RankObserver::OnNote(const std::string& text) {
  if (console_ != nullptr) {
    console_->OnNote(text);
  } else if (rank_ == 0) {
    held_.push_back(text);
  }
}

void RankObserver::OnSlots(int64_t step, std::span<const SlotRecord> slots) {
  if (!ledger_.has_value()) return;
  const absl::Status status = ledger_->Write(step, slots);
  if (status.ok()) return;
  ledger_.reset();
  Say(Cat("DATA LEDGER OF RANK ", rank_, " STOPPED: ", status.message()));
}

}  // namespace blockstep
