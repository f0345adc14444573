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
  bool digests = false;                 // of every op, beside the run
};

struct CaseResult {
  std::string weights;      // SHA-256
  std::string state;        // SHA-256 of the optimizer state
  std::string blocks;       // SHA-256 of the sequence of active sets
  int64_t active_sets = 0;  // how many different ones were trained
  double seconds = 0;
  bool SameAs(const CaseResult& o) const {
    return weights == o.weights && state == o.state && blocks == o.blocks;
  }
};

// Its files lie in <folder>/<name of the case>, with "-digests" if they are asked for. Errors name
// the log. UNAVAILABLE: the launcher did not start the program. CANCELLED: this program was asked
// to stop.
absl::StatusOr<CaseResult> RunCase(const VerifyCase& c, const VerifySetup& setup);
// What the end of a run's log says.
absl::StatusOr<CaseResult> ReadResult(const std::string& log);
// FAILED_PRECONDITION: the policy is not `full` and never switched, so equal hashes would say
// nothing about switches.
absl::Status CheckSwitched(const VerifyCase& c, const CaseResult& result);
// runtime.digests of the case.
std::string DigestsOf(const VerifyCase& c, const VerifySetup& setup);

// "blockllm-4-sharded-embedded-mpi"
std::string NameOf(const VerifyCase& c);

// Of the toy: some units fit and some do not, on 2 to 8 ranks.
inline constexpr int64_t kToyPinBudget = 60'000;

// A small model, made-up text and the settings for it, written to `folder`: arguments for
// `blockstep train` that fit every policy and up to 8 ranks.
absl::StatusOr<std::vector<std::string>> MakeToyRun(const std::string& folder, int64_t steps);

}  // namespace blockstep
