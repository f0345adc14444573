// The loop over steps on one rank: evaluation and checkpoint cadence, bad steps, stopping. What a
// step does is StepEngine's.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "launcher/checkpoint/checkpoint.h"
#include "launcher/checkpoint/run_folder.h"
#include "launcher/train/saver.h"
#include "launcher/train/session.h"
#include "launcher/train/watchdog/run_place.h"

namespace blockstep {

// What the loop shows of itself, on every rank; the launcher decides who prints.
struct TrainEvents {
  std::function<absl::Status(const StepResult& step, double seconds)> on_step;
  std::function<absl::Status(int64_t step, const EvalResult& eval)> on_eval;
  // A save that ended, well or not.
  std::function<absl::Status(const SaveReport& save)> on_save;
  // (optional) Something that people should know.
  std::function<void(const std::string& text)> on_note;
  // (optional) What this rank reads; unlike the others, of every rank.
  SlotsRead on_slots;
};

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
  // Coordinator's policy state and open directives, asked for by rank 0 at a save.
  std::function<absl::Status(int64_t step, TrainerState& state)> policy_state;
  std::function<bool()> stop_requested;
  // (optional) How many times people asked for a checkpoint, as this rank has heard: when it grows,
  // all ranks save at the end of the same step.
  std::function<int64_t()> saves_ordered;
  const RunFolder* run = nullptr;            // null: nothing is saved (verify, benchmarks)
  std::vector<std::string> tokenizer_files;  // copied into checkpoints; may be empty
  TrainEvents events;
  RunPlace* place = nullptr;  // (optional) kept up to date for a watchdog
  FileHook save_hook;         // (optional) tests
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
  // Of the optimizer state as it is now (launcher/checkpoint/state_sha256.h). Collective.
  absl::StatusOr<std::string> StateHash();

 private:
  explicit Trainer(TrainerOptions options) : o_(std::move(options)) {}
  absl::Status Restore();
  absl::Status Save(SaveMode mode);
  // The state as it is now, when the run ends: an error if it cannot be saved.
  absl::Status SaveLast();
  absl::Status Evaluate(int64_t step);
  void At(RunPhase phase);
  DiskWatch* Disk() { return o_.place == nullptr ? nullptr : &o_.place->disk; }
  // Counts bad steps; true: too many in a row.
  bool TooManyBadSteps(const StepResult& result);

  TrainerOptions o_;
  std::unique_ptr<StepEngine> engine_;
  std::unique_ptr<Evaluator> evaluator_;
  TrainerState state_;
  std::optional<Saver> saver_;  // none: nothing is saved
  int64_t orders_done_ = 0;     // of saves_ordered
  std::optional<EvalResult> last_eval_;
};

}  // namespace blockstep
