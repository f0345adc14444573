// What an error says besides its code and text, for the program: the rank it happened on and how
// the run ends with it. Kept as payloads of the Status, so that every layer in between passes it on
// as it is; launcher/cli/exit_codes.h gives the second number its names.
#pragma once

#include "absl/status/status.h"

namespace blockstep {

struct ErrorFacts {
  int rank = -1;       // -1: nobody said
  int exit_code = -1;  // -1: nobody said; the command's list decides by the status's code
};

ErrorFacts FactsOf(const absl::Status& status);

// `status` with those of `facts` that it does not have yet: whoever was nearest to the error knows
// best. OK stays OK.
absl::Status WithFacts(absl::Status status, const ErrorFacts& facts);

// The error as one of `rank`: "rank 2: " before its text, and the number. As it is where it is some
// rank's already.
absl::Status OnRank(const absl::Status& status, int rank);

}  // namespace blockstep
