// Third part of a rank's life: it meets the coordinator.
#pragma once

#include "launcher/run/open.h"

namespace blockstep {

// Collective. The coordination's source of directives; `resolved` and `opened` must outlive it.
absl::StatusOr<DirectiveSource*> ConnectRun(const RankJob& job, const ResolvedRun& resolved,
                                            const OpenedRun& opened);

}  // namespace blockstep
