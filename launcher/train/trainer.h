// The loop over steps on one rank: evaluation and checkpoint cadence, bad steps, stopping. What a
// step does is StepEngine's.
#pragma once

#include <memory>
#include <optional>

#include "launcher/checkpoint/checkpoint.h"
#include "launcher/checkpoint/content_sha256.h"
#include "launcher/checkpoint/run_folder.h"
#include "launcher/train/engine/entry_states.h"
#include "launcher/train/run_observer.h"
#include "launcher/train/saver.h"
#include "launcher/train/session.h"
#include "launcher/train/watchdog/hang_report.h"

namespace blockstep {

enum class TrainEnd : uint8_t {
  kFinished,   // every step is done
  kStopped,    // asked to stop: saved
  kNonFinite,  // max_bad_steps in a row: saved
  kOrphaned,   // no coordinator within its grace: saved
  kRefused,    // no directive that all ranks hold, for another reason: saved
};

struct TrainOutcome {
  TrainEnd end = TrainEnd::kFinished;
  int64_t step = 0;  // the next step to run
  std::string why;   // for kNonFinite, kOrphaned and kRefused
  std::optional<EvalResult> last_eval;
};

struct TrainerOptions {
  Session* session = nullptr;
  DirectiveSource* source = nullptr;
  RunObserver* observer = nullptr;           // (optional)
  RunControl* control = nullptr;             // (optional)
  const RunFolder* run = nullptr;            // null: nothing is saved (verify, benchmarks)
  std::string config_hash, config_text;      // of this run, for its checkpoints
  std::vector<std::string> tokenizer_files;  // copied into checkpoints; may be empty
  WatchedProgress* watched = nullptr;        // (optional) kept up to date for a watchdog
  FileHook save_hook;                        // (optional) tests
};

class Trainer {
 public:
  static absl::StatusOr<std::unique_ptr<Trainer>> Create(TrainerOptions options);

  // From the run folder's checkpoint if it names one, else from fresh weights.
  absl::Status Start();
  absl::StatusOr<TrainOutcome> Run();

  // What `resume_from` held; default-constructed for a fresh run.
  const TrainerState& state() const { return state_; }
  StepEngine& engine() { return *engine_; }
  // Of the optimizer state as it is now (launcher/checkpoint/content_sha256.h). Collective.
  absl::StatusOr<std::string> StateHash();

 private:
  explicit Trainer(TrainerOptions options);
  absl::Status Restore();
  absl::Status Save(SaveMode mode);
  // The state as it is now, when the run ends: an error if it cannot be saved.
  absl::Status SaveLast();
  absl::Status Evaluate(int64_t step);
  void At(RunStage stage);
  DiskWatch* Disk() { return o_.watched == nullptr ? nullptr : &o_.watched->disk; }
  // Counts bad steps; true: too many in a row.
  bool TooManyBadSteps(const StepResult& result);

  TrainerOptions o_;
  RunObserver nobody_;  // where the options name none
  RunControl nothing_;
  std::unique_ptr<StepEngine> engine_;
  std::unique_ptr<Evaluator> evaluator_;
  TrainerState state_;
  std::optional<Saver> saver_;  // none: nothing is saved
  int64_t orders_done_ = 0;     // of RunControl::SavesOrdered
  std::optional<EvalResult> last_eval_;
};

// Optimizer state of the phase in hand as checkpoints and hashes list it: views of this rank's
// part, valid as long as the phase.
StateToHash StateOf(EntryStates& states);
// The same with nothing of it where another group of the grid saves and hashes it.
StateToHash CountedState(EntryStates& states, const Grid& grid);

}  // namespace blockstep
