// The equality matrix: every case must end in the same weights as the others of its policy.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace blockstep {

struct VerifyCase {
  std::string policy, ranks, placement, coordinator, transport;
  friend auto operator<=>(const VerifyCase&, const VerifyCase&) = default;
};

struct VerifyAxes {
  std::vector<std::string> policies{"full", "badam", "blockllm"};
  std::vector<std::string> ranks{"1", "2", "3", "4"};
  std::vector<std::string> placements{"sharded", "pinned"};
  std::vector<std::string> coordinators{"embedded", "external"};
  std::vector<std::string> transports{"local", "mpi"};
};

// INVALID_ARGUMENT names the value that is not one of the defaults above (any number above 0 is a
// number of ranks; `budget` and `node` are placements, too).
absl::Status Validate(const VerifyAxes& axes);

// The product of all axes, policy by policy.
std::vector<VerifyCase> AllCases(const VerifyAxes& axes);

// A choice in which each value of an axis meets each value of every other one at least once, and
// each policy has at least two cases to compare.
std::vector<VerifyCase> PairwiseCases(const VerifyAxes& axes);

}  // namespace blockstep
