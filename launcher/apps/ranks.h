// From one process to its ranks: an MPI rank, or threads when runtime.transport is local.
#pragma once

#include "launcher/apps/rank_run.h"

namespace blockstep {

// Runs this process's rank or ranks to their end. The outcome is rank 0's for threads, this rank's
// under MPI; an error names the rank it happened on.
absl::StatusOr<RankOutcome> RunRanks(const TrainConfig& config, const TrainFlags& flags);

}  // namespace blockstep
