// The saves of a run on one rank: at most one is under way, in the background or in the foreground.
// Counts what training waits for them. A save that fails (a full disk) is reported and the run goes
// on: the last announced checkpoint stays, the next save tries again.
#pragma once

#include <functional>
#include <memory>

#include "launcher/checkpoint/background_save.h"
#include "launcher/train/session.h"
#include "launcher/train/watchdog/disk_watch.h"

namespace blockstep {

// How a save ended, the same on every rank.
struct SaveReport {
  int64_t step = 0;
  absl::Status status;          // not OK: nothing was announced; names rank, file and bytes
  CheckpointInfo info;          // of one that was announced
  int64_t announced = -1;       // step of the last announced one now; -1: none by this process
  double seconds = 0;           // from its begin to its end
  double stall_seconds = 0;     // that training waited for it, all together
  double waited_seconds = 0;    // of these, because the next save was due
  double interval_seconds = 0;  // from the begin of the save before, or of the run
  int64_t staged_bytes = 0;     // that this rank copied
};

struct SaverOptions {
  Session* session = nullptr;
  std::string run_folder;
  std::vector<std::string> tokenizer_files;
  std::function<absl::Status(const SaveReport&)> on_save;
  DiskWatch* disk = nullptr;  // (optional) told what is waited for
  FileHook hook;              // (optional) tests
};

// Whether the plan counts the staging of saves in the background. A run that has none by its
// configuration makes a save that is ordered in the foreground.
bool PlansBackgroundSaves(const TrainConfig& config);

enum class SaveMode : uint8_t { kBackground, kHereAndNow };

// Why training waits for a save: the next one is due, more rows change than are planned as copies,
// or the run ends.
enum class AwaitedBy : uint8_t { kNextSave, kNewPhase, kEndOfRun };

class Saver {
 public:
  explicit Saver(SaverOptions options);
  ~Saver();  // gives a save under way up, after the operation in hand

  // What the step engine asks and tells. True without a save under way.
  bool part_done() const { return save_ == nullptr || save_->part_done(); }
  absl::Status BeforeCommit(const ActiveSet& set);
  // A phase begins. Copies are planned for the phase that a save began in and for one more, so the
  // second new one waits for it. Collective.
  absl::Status BeforePhase();

  // All of these are collective. Returns communication errors and errors of on_save; how the save
  // itself ended is in the report and in last().
  // Waits for the save that is under way, if there is one.
  absl::Status Await(AwaitedBy who);
  // After Await. Training has waited for this save since `since_ns`.
  absl::Status Save(TrainerState trainer, std::vector<StateSlice> states, SaveMode mode,
                    int64_t since_ns);
  // After a step at whose exchange every rank said part_done().
  absl::Status Advance();

  int64_t announced_step() const { return announced_; }
  void set_announced_step(int64_t step) { announced_ = step; }  // a resumed run's
  const absl::Status& last() const { return last_; }            // how the last save ended

 private:
  absl::Status Report(const absl::StatusOr<CheckpointInfo>& outcome);
  StagingMemory Staging();
  SaveOptions HowToSave();
  // Training waits for the save under way, to the end of the scope.
  struct Stall;

  SaverOptions o_;
  std::unique_ptr<Stream> copies_;  // of the save's thread; made by the first save
  std::unique_ptr<BackgroundSave> save_;
  SaveReport report_;  // of the save under way
  int64_t began_ns_;   // the save under way, or the last one; before any, the run
  int phases_ = 0;     // begun since then
  int64_t announced_ = -1;
  absl::Status last_;
};

}  // namespace blockstep
