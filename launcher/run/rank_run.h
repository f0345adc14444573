// One rank of `blockstep train`, from an open communicator to an outcome: resolve, open, connect,
// train, close. The same for a process under MPI (mpi_rank.h) and for threads of one process, which
// are the ranks when runtime.transport is local.
#pragma once

#include <string>

#include "launcher/run/rank_job.h"
#include "launcher/train/trainer.h"

namespace blockstep {

struct RankOutcome {
  TrainOutcome outcome;
  std::string weights_hash;
};

// The exit code that a result stands for.
int ExitCodeOfResult(const absl::StatusOr<RankOutcome>& result);

// One rank, from its communicator to its outcome; the coordination of `env` is made here, and its
// threads are those free for the rank: runtime.threads overrules them. An error names the rank that
// it happened on.
absl::StatusOr<RankOutcome> RunRank(const TrainConfig& config, const TrainFlags& flags,
                                    RankEnv env);

// Runs runtime.local_ranks ranks as threads to their end. The outcome is rank 0's; the error is
// that of the rank that failed first.
absl::StatusOr<RankOutcome> RunLocalRanks(const TrainConfig& config, const TrainFlags& flags);

}  // namespace blockstep
