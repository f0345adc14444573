// Fifth call of RunTrainingRank: final hashes, trace and memory use.
#pragma once

#include <string>

#include "launcher/run/open.h"
#include "launcher/run/rank_observer.h"

namespace blockstep {

// Collective. Writes the trace, prints memory use and hashes. Returns the hash of the weights.
absl::StatusOr<std::string> CloseRun(const RankJob& job, const ResolvedRun& resolved,
                                     OpenedRun& opened, const std::string& state_hash,
                                     RankObserver& observer);

}  // namespace blockstep
