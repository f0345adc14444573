// Exit codes of `blockstep`, the same list as docs/errors.md.
#pragma once

#include "absl/status/status.h"

namespace blockstep {

enum ExitCode : int {
  kExitOk = 0,
  kExitFailure = 1,    // an error not listed below
  kExitUsage = 2,      // flags or configuration
  kExitBadInput = 3,   // a data, weight or checkpoint file
  kExitResources = 4,  // memory, disk, ports
  kExitPeers = 5,      // ranks disagree or one is lost
  kExitNonFinite = 6,  // max_bad_steps reached; saved
  kExitStopped = 75,   // asked to stop, or no coordinator: what was saved can go on
};

// The code an error of a command ends with.
int ExitCodeOf(const absl::Status& status);

}  // namespace blockstep
