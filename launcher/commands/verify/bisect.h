// blockstep verify --bisect: two cases run again with a digest of everything that every op
// computes, and the first op in which they differ.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/op_digests.h"
#include "launcher/commands/verify/run_case.h"

namespace blockstep {

struct DigestedRun {
  std::string name;  // for people
  std::string path;  // runtime.digests; every file of a rank there is read
};

struct DigestComparison {
  int64_t records = 0;  // that are equal, parts of ranks put together
  int64_t steps = 0;    // in which they lie, the one of the difference included
  // The first record in program order in which the runs differ; none: all agree.
  std::optional<OpKey> where;
  std::string label;  // of it
  // "step 3, slot 17, forward layer 1: swiglu out", and on lines of their own what each run has.
  std::string Text() const;
  std::string detail;
};

// NOT_FOUND: a run left no file; DATA_LOSS names file and line.
absl::StatusOr<DigestComparison> CompareDigests(const DigestedRun& a, const DigestedRun& b);

// The case that NameOf prints so. INVALID_ARGUMENT: no such name.
absl::StatusOr<VerifyCase> CaseNamed(const std::string& name);

// Files of both lie in <folder>/<name of the case>-digests*.
absl::StatusOr<DigestComparison> Bisect(const VerifyCase& a, const VerifyCase& b,
                                        const VerifySetup& setup);

}  // namespace blockstep
