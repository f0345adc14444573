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
  kExitStopped = 75,   // asked to stop, or coordinator lost: saved, can be resumed
};

// Sets the exit code for this error where the status code alone would give another one. The first
// call, nearest to the error, wins. OK stays OK.
absl::Status WithExitCode(absl::Status status, ExitCode code);

// The exit code for an error: the one set by WithExitCode, else one derived from the status code
// (flags 2, files 3, resources 4, a peer that refuses or does not respond 5). kExitNonFinite and
// kExitStopped are never derived, only set.
ExitCode ExitCodeOf(const absl::Status& status);

}  // namespace blockstep
