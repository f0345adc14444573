// Third call of RunTrainingRank: joining the coordinator.
#pragma once

#include "launcher/run/open.h"

namespace blockstep {

// Collective. Returns the source of directives; `resolved` and `opened` must outlive it.
absl::StatusOr<DirectiveSource*> ConnectRun(const RankJob& job, const ResolvedRun& resolved,
                                            const OpenedRun& opened);

}  // namespace blockstep
