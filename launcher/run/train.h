// Fourth and fifth call of RunTrainingRank: weights and all steps, then final hashes, trace and
// memory use.
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

// Collective. Once the metrics are open, changes to the run folder are kept.
absl::StatusOr<TrainedRun> TrainRun(const RankJob& job, const ResolvedRun& resolved,
                                    OpenedRun& opened, DirectiveSource* source,
                                    RankObserver& observer);

// Collective. Writes the trace, prints memory use and hashes. Returns the hash of the weights.
absl::StatusOr<std::string> CloseRun(const RankJob& job, const ResolvedRun& resolved,
                                     OpenedRun& opened, const std::string& state_hash,
                                     RankObserver& observer);

}  // namespace blockstep
