// From one process to its ranks: one under MPI (mpi_rank.h), or threads when runtime.transport is
// local.
#pragma once

#include "launcher/run/rank_run.h"

namespace blockstep {

// One rank, from its communicator to its outcome; the coordination of `env` is made here, and its
// threads are those free for the rank: runtime.threads overrules them. An error names the rank that
// it happened on.
absl::StatusOr<RankOutcome> RunRank(const TrainConfig& config, const TrainFlags& flags,
                                    RankEnv env);

// Runs runtime.local_ranks ranks as threads to their end. The outcome is rank 0's; the error is
// that of the rank that failed first.
absl::StatusOr<RankOutcome> RunLocalRanks(const TrainConfig& config, const TrainFlags& flags);

}  // namespace blockstep
