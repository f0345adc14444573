// Output of one rank: console and metrics on rank 0, and the data ledger, if enabled, on every
// rank.
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

  // Opens the files and truncates them to the steps before the next one. Not collective: the caller
  // makes the ranks agree on the status.
  absl::Status Open(const TrainConfig& config, const RunFolder& run);
  // Prints the notes made before Open.
  void ShowHeldNotes();

  absl::Status OnStep(const StepResult& step, double seconds) override;
  absl::Status OnEval(int64_t step, const EvalResult& eval) override;
  absl::Status OnSave(const SaveReport& save) override;
  // Held back until Open; dropped on ranks other than 0.
  void OnNote(const std::string& text) override;
  // A write error ends the ledger, not the run, and is printed.
  void OnSlots(int64_t step, std::span<const SlotRecord> slots) override;

  // Null on ranks other than 0.
  Console* console() { return console_.get(); }

 private:
  int rank_, ranks_;
  std::unique_ptr<Console> console_;
  std::optional<DataLedger> ledger_;
  std::vector<std::string> held_;
};

}  // namespace blockstep
