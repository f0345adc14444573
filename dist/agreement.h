// Small host-blocking agreements of a group of ranks: on an error, a text, what they were given.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dist/communicator.h"

namespace blockstep {

// Collective: OK if every rank passes OK; else the same error on every rank, that of the lowest
// failing rank, with its facts (core/base/status.h); it names that rank, or the one that it was of
// already. Long messages are cut to about 1000 bytes on the other ranks.
absl::Status AgreeOnStatus(Communicator* group, const absl::Status& mine, const std::string& what);

// The same where the caller goes on after an error of a rank: the returned status is that of the
// communication alone.
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

// Ranks that were given different things must not train: their messages would fit and their sums
// mean nothing, or they would wait for each other for ever.
// Collective, 8 bytes a rank where all is well: OK if every rank passes the same lines; else, on
// every rank, FAILED_PRECONDITION with the ranks that differ from rank 0 and the first line in
// which one of them does.
absl::Status AgreeOnLines(Communicator& group, const std::string& lines);

}  // namespace blockstep
