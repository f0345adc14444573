// One case of `blockstep verify`: this very program, run as a user would run it.
#pragma once

#include <string>
#include <vector>

#include "launcher/commands/verify/cases.h"

namespace blockstep {

struct VerifySetup {
  std::string program;                  // path of blockstep
  std::vector<std::string> mpirun;      // "mpirun" and the user's words for it
  std::vector<std::string> train_args;  // --config ... --set ...
  std::string folder;                   // for runs and logs
  int64_t pin_budget_bytes = 0;         // of cases with placement budget
  double limit_s = 300;                 // of one case
};

struct CaseResult {
  std::string weights;  // SHA-256
  std::string blocks;   // SHA-256 of the sequence of active sets
  double seconds = 0;
};

// Its files lie in <folder>/<name of the case>. Errors name the log.
absl::StatusOr<CaseResult> RunCase(const VerifyCase& c, const VerifySetup& setup);

// "blockllm-4-sharded-embedded-mpi"
std::string NameOf(const VerifyCase& c);

// Of the toy: some units fit and some do not, on 2 to 8 ranks.
inline constexpr int64_t kToyPinBudget = 60'000;

// A small model, made-up text and the settings for it, written to `folder`: arguments for
// `blockstep train` that fit every policy and up to 8 ranks.
absl::StatusOr<std::vector<std::string>> MakeToyRun(const std::string& folder, int64_t steps);

}  // namespace blockstep
