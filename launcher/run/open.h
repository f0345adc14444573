// Second part of a rank's life: its memory, its data, and the run folder with what a checkpoint
// there says of the run. The folder is as it was again unless `undo` is told to keep it.
#pragma once

#include <memory>
#include <string>

#include "launcher/run/resolve.h"
#include "launcher/train/session.h"
#include "launcher/train/watchdog/run_place.h"

namespace blockstep {

// Never moved: parts hold addresses of others.
struct OpenedRun {
  std::unique_ptr<ThreadPool> pool;
  Tracer tracer;  // used if runtime.trace names a file
  RunPlace place;
  std::unique_ptr<Session> session;
  RunLock lock;
  RunFolderUndo undo;
  RunFolder folder;
  TrainerState resumed;     // of the checkpoint; default-constructed for a fresh run
  std::string policy_note;  // for people: why the policy starts afresh; mostly empty

  bool resumes() const { return !folder.resume_from.empty(); }
};

// Collective. A run that is finished is opened, too, without its checkpoint.
absl::StatusOr<std::unique_ptr<OpenedRun>> OpenRun(const RankJob& job, const ResolvedRun& resolved);

// What else there is to do about a checkpoint that --resume auto took and that is damaged.
absl::Status WithTheOneBefore(const absl::Status& status, const RunFolder& run);

}  // namespace blockstep
