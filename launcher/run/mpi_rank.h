// A process that is one rank under MPI: from before MPI_Init to its end.
#pragma once

#include <functional>

#include "launcher/run/rank_run.h"

namespace blockstep {

// Runs this rank to its end, and ends the process: MPI is finalized where every rank gets there
// within a few seconds, else the process ends without it, which makes mpirun end the others.
// `report` prints the outcome or error and gives the exit code; on ranks other than 0 it is called
// only where MPI does not come to its end: an error that rank 0 may not share.
[[noreturn]] void RunMpiRankAndExit(
    const TrainConfig& config, const TrainFlags& flags,
    const std::function<int(const absl::StatusOr<RankOutcome>&)>& report);

// A rank that MPI has started.
struct MpiRank {
  Communicator& world;
  int machine_ranks = 1;  // on this machine
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

// This process's rank as the launcher's environment has it; 0 where none says so.
int LaunchedRank();
// How many ranks it says it started; 1 where it says nothing.
int LaunchedRanks();

}  // namespace blockstep
