// The small exchanges of a step over `control`: every rank gathers what every rank says, and all
// combine it alike. Bytes sent per rank: (N-1) * 8 for the tokens of a batch, and at the end of a
// step (N-1) * (sizeof(RankWord) + entries * sizeof(ExactSum)).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/exact_sum.h"
#include "core/step/directive.h"
#include "dist/communicator.h"

namespace blockstep {

// What one rank contributes besides the norms. Plain data: it travels as bytes between equal
// builds.
struct RankWord {
  int64_t step = 0;
  ExactSum loss;           // sum over this rank's slots
  uint64_t next_hash = 0;  // directive for step + 1; 0: not held yet
  int64_t next_through = -1;
  int64_t stop = 0;           // 1: stop at the end of this step
  int64_t part_done = 0;      // 1: this rank's share of a save under way, if there is one
  int64_t saves_ordered = 0;  // how many times people asked for a checkpoint, as this rank heard
};

struct ExchangeResult {
  ExactSum loss;
  int64_t tokens = 0;           // counted targets: TokenCount's, told earlier
  std::vector<ExactSum> norms;  // per entry, of all owners
  bool next_agreed = false;     // every rank holds the same directive for step + 1
  bool stop = false;            // some rank asked
  bool parts_done = true;       // every rank said part_done
  int64_t saves_ordered = 0;    // the most that a rank has heard of
};

// How many targets of a batch count, over all ranks: begun when the batch is read, so that it is
// known before an update inside backward needs it.
class TokenCount {
 public:
  TokenCount(Communicator& control, int64_t mine, int64_t step);
  // Waits for the others.
  absl::StatusOr<int64_t> Total();

 private:
  HostGather gather_;
};

class StepExchange {
 public:
  // Begins it.
  StepExchange(Communicator& control, const RankWord& mine, const std::vector<ExactSum>& norms);
  // Waits for the others. FAILED_PRECONDITION names the ranks that are at another step or hold
  // another directive.
  absl::StatusOr<ExchangeResult> Finish();

 private:
  const int rank_;
  const int64_t step_;
  const size_t norms_;
  HostGather gather_;
};

// Sums of all ranks, element by element. Host-blocking; bytes sent per rank: (N-1) * sums *
// sizeof(ExactSum).
absl::StatusOr<std::vector<ExactSum>> ExchangeSums(Communicator& control,
                                                   const std::vector<ExactSum>& mine,
                                                   const std::string& what);

// Ranks compare the directive they are about to follow; needed when the last step's exchange could
// not (the first step, after a sweep, and when one had not come yet). A rank whose wait for it
// failed takes part too: then every rank fails with that rank's error, before any of them has
// issued a collective of the step. UNAVAILABLE only if no rank failed for another reason.
// `undirected` (optional): whether the step has no directive that all ranks hold, and every rank
// knows so.
absl::Status AgreeOnDirective(Communicator& control, int64_t step,
                              const absl::StatusOr<Directive>& directive,
                              bool* undirected = nullptr);

}  // namespace blockstep
