// Small host-blocking agreements between the ranks of a group: on an error, a text, their inputs.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dist/communicator.h"

namespace blockstep {

// Collective. OK if every rank passes OK; else every rank returns the error of the lowest failing
// rank, with its facts (core/base/status.h). The error names that rank, unless an earlier agreement
// named another. The other ranks get at most about 1000 bytes of its message.
absl::Status AgreeOnStatus(Communicator* group, const absl::Status& mine, const std::string& what);

// The same for callers that continue after an error on some rank: the returned status covers the
// communication only, Agreement::status the ranks.
struct Agreement {
  absl::Status status;
};
absl::StatusOr<Agreement> GatherStatus(Communicator* group, const absl::Status& mine,
                                       const std::string& what);

// Collective: rank `root`'s text on every rank.
absl::StatusOr<std::string> BroadcastText(Communicator* group, const std::string& text, int root,
                                          const std::string& what);

// Collective: every rank's text, on rank 0; empty elsewhere.
absl::StatusOr<std::vector<std::string>> GatherText(Communicator* group, const std::string& mine,
                                                    const std::string& what);

// Stops ranks with different configurations or inputs before they train together: their sums would
// be meaningless, or they would deadlock.
// Collective, 8 bytes per rank if all agree. OK if every rank passes the same lines; else every
// rank returns FAILED_PRECONDITION with the ranks that differ from rank 0 and the first differing
// line of one of them.
absl::Status AgreeOnLines(Communicator& group, const std::string& lines);

}  // namespace blockstep
