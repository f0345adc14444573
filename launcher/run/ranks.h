// Starts the ranks of a process: one under MPI (mpi_rank.h), or one per thread when
// runtime.transport is local.
#pragma once

#include "launcher/run/rank_run.h"

namespace blockstep {

// Runs one rank on an open communicator. Sets env.coordination; env.threads is the number of free
// threads, which runtime.threads overrides. With several ranks an error names the one where it
// happened.
absl::StatusOr<RankOutcome> RunRank(const TrainConfig& config, const TrainFlags& flags,
                                    RankEnv env);

// Runs runtime.local_ranks ranks as threads. Returns rank 0's outcome, or the error of the rank
// that failed first.
absl::StatusOr<RankOutcome> RunLocalRanks(const TrainConfig& config, const TrainFlags& flags);

}  // namespace blockstep
