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

// This process's rank as the launcher's environment has it; 0 where none says so.
int LaunchedRank();

}  // namespace blockstep
