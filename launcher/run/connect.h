// Third part of a rank's life: it meets the coordinator, and from then on is watched.
#pragma once

#include <memory>

#include "launcher/run/open.h"
#include "launcher/train/watchdog/watchdog.h"

namespace blockstep {

struct ConnectedRun {
  DirectiveSource* source = nullptr;  // the coordination's
  std::unique_ptr<Watchdog> watchdog;
};

// Collective. `opened` must outlive the result.
absl::StatusOr<ConnectedRun> ConnectRun(const RankJob& job, const ResolvedRun& resolved,
                                        OpenedRun& opened);

}  // namespace blockstep
