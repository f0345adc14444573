// Fourth and last part of a rank's life: weights and every step, then what its run came to.
#pragma once

#include <string>

#include "launcher/run/open.h"
#include "launcher/run/rank_observer.h"
#include "launcher/train/trainer.h"

namespace blockstep {

struct TrainedRun {
  TrainOutcome outcome;
  std::string
      state_hash;  // of the optimizer state at the end (launcher/checkpoint/content_sha256.h)
};

// Collective. From the moment the metrics are open the run folder keeps what was written into it.
absl::StatusOr<TrainedRun> TrainRun(const RankJob& job, const ResolvedRun& resolved,
                                    OpenedRun& opened, DirectiveSource* source,
                                    RankObserver& observer);

// Collective: the trace is written, memory and hashes are shown. Returns the hash of the weights.
absl::StatusOr<std::string> CloseRun(const RankJob& job, const ResolvedRun& resolved,
                                     OpenedRun& opened, const std::string& state_hash,
                                     RankObserver& observer);

}  // namespace blockstep
