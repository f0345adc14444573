// Fourth part of a rank's life: weights, then every step.
#pragma once

#include "launcher/run/open.h"
#include "launcher/run/rank_observer.h"
#include "launcher/train/trainer.h"

namespace blockstep {

// Collective. From the moment the metrics are open the run folder keeps what was written into it.
absl::StatusOr<TrainOutcome> TrainRun(const RankJob& job, const ResolvedRun& resolved,
                                      OpenedRun& opened, DirectiveSource* source,
                                      RankObserver& observer);

}  // namespace blockstep
