// What an error carries besides its code and text: the rank where it happened and the exit code of
// the run. Both are payloads of the Status, so every layer in between passes them on unchanged;
// launcher/cli/exit_codes.h names the exit codes.
#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace blockstep {

struct ErrorFacts {
  int rank = -1;       // -1: not set
  int exit_code = -1;  // -1: not set; the status code decides
};

ErrorFacts FactsOf(const absl::Status& status);

// `status` with those of `facts` that it does not have yet: the ones set nearest to the error win.
// OK stays OK.
absl::Status WithFacts(absl::Status status, const ErrorFacts& facts);

struct RankOf {
  int rank = 0;
  int ranks = 0;  // of the group; 0: unknown
};

// Marks the error as one of a rank: sets the fact, and prefixes the text with "rank 2: " unless the
// group has one rank only. An error that has a rank is returned unchanged.
absl::Status OnRank(const absl::Status& status, const RankOf& where);

// Annotate of core/base/status.h that keeps the facts.
absl::Status Prefixed(const absl::Status& status, std::string_view prefix);

}  // namespace blockstep
