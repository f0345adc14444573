// blockstep verify --bisect: two cases run again with a digest of everything that every op
// computes, and the first op in which they differ.
#pragma once

#include <string>

#include "launcher/commands/verify/compare_digests.h"
#include "launcher/commands/verify/run_case.h"

namespace blockstep {

// The case that NameOf prints so. INVALID_ARGUMENT: no such name.
absl::StatusOr<VerifyCase> CaseNamed(const std::string& name);

// Files of both lie in <folder>/<name of the case>-digests*.
absl::StatusOr<DigestComparison> Bisect(const VerifyCase& a, const VerifyCase& b,
                                        const VerifySetup& setup);

}  // namespace blockstep
