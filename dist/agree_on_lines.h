// Ranks that were given different things must not train: their messages would fit and their sums
// mean nothing, or they would wait for each other for ever.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "dist/communicator.h"

namespace blockstep {

// Collective, 8 bytes a rank where all is well: OK if every rank passes the same lines; else, on
// every rank, FAILED_PRECONDITION with the ranks that differ from rank 0 and the first line in
// which one of them does.
absl::Status AgreeOnLines(Communicator& group, const std::string& lines);

}  // namespace blockstep
