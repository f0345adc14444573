// From one process to its ranks: one under MPI (mpi_rank.h), or threads when runtime.transport is
// local.
#pragma once

#include "launcher/run/rank_run.h"

namespace blockstep {

struct RankPlace {
  Communicator* group = nullptr;
  Watchdog* watchdog = nullptr;
  int threads = 1;  // free for this rank; runtime.threads overrules it
  int process_ranks = 1;
  int machine_ranks = 1;
};

// One rank, from its communicator to its outcome, by way of the coordinator. An error names the
// rank that it happened on.
absl::StatusOr<RankOutcome> RunRank(const TrainConfig& config, const TrainFlags& flags,
                                    const RankPlace& place);

// Runs runtime.local_ranks ranks as threads to their end. The outcome is rank 0's; the error is
// that of the rank that failed first.
absl::StatusOr<RankOutcome> RunLocalRanks(const TrainConfig& config, const TrainFlags& flags);

}  // namespace blockstep
