// One rank as an MPI process, from before MPI_Init to its exit.
#pragma once

#include <functional>

#include "launcher/run/rank_run.h"

namespace blockstep {

// Runs this rank and exits the process. MPI is finalized if every rank reaches that point within a
// few seconds; otherwise the process exits without it, which makes mpirun kill the other ranks.
// `report` prints the outcome or error and returns the exit code; ranks other than 0 call it only
// if MPI cannot be finalized, since rank 0 may not have the error.
[[noreturn]] void RunMpiRankAndExit(
    const TrainConfig& config, const TrainFlags& flags,
    const std::function<int(const absl::StatusOr<RankOutcome>&)>& report);

// A rank that MPI has started.
struct MpiRank {
  RankGroup group;
  int machine_ranks = 1;  // on this machine
  int machine = 0;        // the lowest rank on it
  int free_threads = 1;   // that affinity and quota leave it
};

// What a command does on one MPI rank.
struct MpiWork {
  double timeout_s = 300;  // of MPI_Init and of each wait
  std::function<absl::Status(const MpiRank& rank)> run;
  std::function<int(const absl::Status& status)> report;     // prints; the exit code
  std::function<int(const absl::Status& status)> exit_code;  // the same code, prints nothing
};

// `run`, with the end of the process as above. `watchdog` bounds MPI's start and end.
[[noreturn]] void RunOnMpiRankAndExit(Watchdog& watchdog, const MpiWork& work);

// This process's rank from the launcher's environment; 0 if not set.
int LaunchedRank();
// The number of ranks from the same environment; 1 if not set.
int LaunchedRanks();

}  // namespace blockstep
