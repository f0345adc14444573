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

// Says how a command ends with this error, where its code alone would say something else. Whoever
// says so first, nearest to the error, is believed. OK stays OK.
absl::Status WithExitCode(absl::Status status, ExitCode code);

// The code an error of a command ends with: what was said by WithExitCode, else by the kind of
// error: files and flags speak for themselves, and a peer is what refuses, does not answer or does
// not come. That a run was saved and may go on, or stopped for values that are not finite, is never
// concluded: it is said.
ExitCode ExitCodeOf(const absl::Status& status);

}  // namespace blockstep
