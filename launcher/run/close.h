// Last part of a rank's life: what its run came to.
#pragma once

#include <string>

#include "launcher/run/open.h"
#include "launcher/run/rank_observer.h"

namespace blockstep {

// Collective: the trace is written, memory and hashes are shown. Returns the hash of the weights.
absl::StatusOr<std::string> CloseRun(const RankJob& job, const ResolvedRun& resolved,
                                     OpenedRun& opened, const std::string& state_hash,
                                     RankObserver& observer);

}  // namespace blockstep
