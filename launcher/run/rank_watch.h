// How a rank's watchdog reports what it sees, and how the process ends then: a call that waits
// inside MPI, or for a disk, cannot be taken back.
#pragma once

#include <string>

#include "launcher/run/rank_job.h"
#include "launcher/train/watchdog/watchdog.h"

namespace blockstep {

// Longest wait in a call. While one rank waits for its directive, the others may wait in a call for
// it, so with a coordinator that may come back it is longer than the grace.
double CommLimitS(const TrainConfig& config);

// Bounds of the configuration; reports go to stderr and end the process with their exit code.
WatchdogOptions WatchOf(const TrainConfig& config, const TrainFlags& flags, int rank);

// What there is to look at from the moment the coordinator is met. `place` outlives the watching.
WatchedRun WatchedRunOf(const RankJob& job, const RunPlace& place);

// For its lifetime the watchdog looks at the run.
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

// Says `lines`, and ends this process and, where it hangs, too, its mpirun. Ranks speak one after
// another: the first one that can is usually the only one.
[[noreturn]] void EndOfHang(const std::string& lines, int rank, int code);

// Gives the reader of stderr a moment for what is still queued.
[[noreturn]] void EndProcess(int code);

}  // namespace blockstep
