// Second call of RunTrainingRank: memory, data, the run folder, and the trainer state of a
// checkpoint in it. Changes to the folder are undone unless RunFolderUndo::Keep is called.
#pragma once

#include <memory>
#include <string>

#include "launcher/run/resolve.h"
#include "launcher/train/session.h"
#include "launcher/train/watchdog/hang_report.h"

namespace blockstep {

// Never moved: parts hold addresses of others.
struct OpenedRun {
  std::unique_ptr<ThreadPool> pool;
  Tracer tracer;  // used if runtime.trace names a file
  WatchedProgress training;
  std::unique_ptr<Session> session;
  RunLock lock;
  RunFolderUndo undo;
  RunFolder folder;
  TrainerState resumed;     // of the checkpoint; default-constructed for a fresh run
  std::string policy_note;  // why the policy state was reset, to print; usually empty

  bool resumes() const { return !folder.resume_from.empty(); }
};

// Collective. Also opens a finished run, without loading its checkpoint.
absl::StatusOr<std::unique_ptr<OpenedRun>> OpenRun(const RankJob& job, const ResolvedRun& resolved);

// Adds to the error about a damaged checkpoint how --resume auto can use the one before it.
absl::Status WithTheOneBefore(const absl::Status& status, const RunFolder& run);

}  // namespace blockstep
