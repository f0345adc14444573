// Fourth call of RunTrainingRank: weights, then all steps.
#pragma once

#include "launcher/run/open.h"
#include "launcher/run/rank_observer.h"
#include "launcher/train/trainer.h"

namespace blockstep {

struct TrainedRun {
  TrainOutcome outcome;
  std::string state_hash;  // of the optimizer state at the end (launcher/checkpoint/state_sha256.h)
};

// Collective. Once the metrics are open, changes to the run folder are kept.
absl::StatusOr<TrainedRun> TrainRun(const RankJob& job, const ResolvedRun& resolved,
                                    OpenedRun& opened, DirectiveSource* source,
                                    RankObserver& observer);

}  // namespace blockstep
