// Stops ranks with different configurations or inputs before they train together: their sums would
// be meaningless, or they would deadlock.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "dist/communicator.h"

namespace blockstep {

// Collective, 8 bytes per rank if all agree. OK if every rank passes the same lines; else every
// rank returns FAILED_PRECONDITION with the ranks that differ from rank 0 and the first differing
// line of one of them.
absl::Status AgreeOnLines(Communicator& group, const std::string& lines);

}  // namespace blockstep
