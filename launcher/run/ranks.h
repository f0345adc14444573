// From one process to its ranks: an MPI rank, or threads when runtime.transport is local.
#pragma once

#include <functional>

#include "launcher/run/rank_run.h"

namespace blockstep {

// Runs this process's rank or ranks to their end. The outcome is rank 0's for threads, this rank's
// under MPI; an error names the rank it happened on.
absl::StatusOr<RankOutcome> RunLocalRanks(const TrainConfig& config, const TrainFlags& flags);

// The same for one MPI rank, and the end of the process: MPI is finalized where every rank gets
// there within a few seconds, else the process ends without it, which makes mpirun end the others.
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
  double timeout_s = 300;  // of MPI's start and of each wait
  std::function<absl::Status(const MpiRank& rank)> run;
  std::function<int(const absl::Status& status)> report;     // prints; the exit code
  std::function<int(const absl::Status& status)> exit_code;  // the same without a word
};

// `run`, with the end of the process as above.
[[noreturn]] void RunOnMpiRankAndExit(const MpiWork& work);

// This process's rank as the launcher's environment has it; 0 where none says so.
int LaunchedRank();
// How many ranks it says it started; 1 where it says nothing.
int LaunchedRanks();

}  // namespace blockstep
