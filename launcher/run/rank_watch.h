// Connects a rank's watchdog to stderr and process exit: a call blocked inside MPI or on a disk
// cannot be cancelled.
#pragma once

#include <string>

#include "core/base/status.h"
#include "launcher/run/rank_job.h"
#include "launcher/train/watchdog/watchdog.h"

namespace blockstep {

// Longest wait in a call. While one rank waits for its directive, the others may wait in a call for
// it, so with a coordinator that may come back it is longer than the grace.
double CommLimitS(const TrainConfig& config);

// Bounds of the configuration; reports go to stderr and end the process with their exit code.
WatchdogOptions WatchOf(const TrainConfig& config, const TrainFlags& flags, const RankOf& where);

// What the watchdog reads once the rank has joined. `training` outlives the Watching.
WatchedRun WatchedRunOf(const RankJob& job, const WatchedProgress& training);

// The watchdog watches the run during the lifetime of this object.
class Watching {
 public:
  Watching(Watchdog& watchdog, WatchedRun run) : watchdog_(watchdog) {
    watchdog_.Watch(std::move(run));
  }
  ~Watching() { watchdog_.Unwatch(); }
  Watching(const Watching&) = delete;

 private:
  Watchdog& watchdog_;
};

// Prints `lines` and exits this process and, if it hangs too, its mpirun. Ranks are staggered, so
// usually only the first one prints.
[[noreturn]] void EndOfHang(const std::string& lines, int rank, int code);

// Exits after giving the reader of stderr a moment to take what is queued.
[[noreturn]] void EndProcess(int code);

}  // namespace blockstep
