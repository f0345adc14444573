// What one rank shows and records of its run: rank 0 the console and the metrics, every rank its
// ledger of data where that was asked for.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launcher/run/console.h"
#include "launcher/train/metrics/data_ledger.h"

namespace blockstep {

class RankObserver : public RunObserver {
 public:
  explicit RankObserver(const Communicator& group) : rank_(group.rank()), ranks_(group.size()) {}

  // Opens the files and cuts what lies there to the step that comes next. Not collective: the
  // caller agrees on the status.
  absl::Status Open(const TrainConfig& config, const RunFolder& run);
  // Shows what was noted before Open, after what the caller has shown since.
  void ShowHeldNotes();

  absl::Status OnStep(const StepResult& step, double seconds) override;
  absl::Status OnEval(int64_t step, const EvalResult& eval) override;
  absl::Status OnSave(const SaveReport& save) override;
  // Before Open it is held back; on ranks other than 0 nobody sees it.
  void OnNote(const std::string& text) override;
  // A full disk costs the ledger, not the run: it ends there and says so.
  void OnSlots(int64_t step, std::span<const SlotRecord> slots) override;

  // Null where another rank shows.
  Console* console() { return console_.get(); }

 private:
  int rank_, ranks_;
  std::unique_ptr<Console> console_;
  std::optional<DataLedger> ledger_;
  std::vector<std::string> held_;
};

}  // namespace blockstep
