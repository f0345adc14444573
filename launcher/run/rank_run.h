// One rank of `blockstep train`, from an open communicator to an outcome: resolve, open, connect,
// train, close. The command sets up processes and threads; this is the same for MPI ranks and for
// ranks that are threads.
#pragma once

#include <string>

#include "launcher/run/rank_job.h"
#include "launcher/train/trainer.h"

namespace blockstep {

struct RankOutcome {
  TrainOutcome outcome;
  std::string weights_hash;
};

absl::StatusOr<RankOutcome> RunTrainingRank(const TrainConfig& config, const TrainFlags& flags,
                                            const RankEnv& env);

// The exit code that a result stands for.
int ExitCodeOfResult(const absl::StatusOr<RankOutcome>& result);

}  // namespace blockstep
