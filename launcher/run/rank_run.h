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

// Runs one rank on an open communicator. Sets env.coordination; env.threads is the number of free
// threads, which runtime.threads overrides. With several ranks an error names the one where it
// happened.
absl::StatusOr<RankOutcome> RunRank(const TrainConfig& config, const TrainFlags& flags,
                                    RankEnv env);

// Runs runtime.local_ranks ranks as threads. Returns rank 0's outcome, or the error of the rank
// that failed first.
absl::StatusOr<RankOutcome> RunLocalRanks(const TrainConfig& config, const TrainFlags& flags);

}  // namespace blockstep
