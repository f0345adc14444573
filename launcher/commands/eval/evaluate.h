// One rank of `blockstep eval`: weights sharded or pinned as in training, slots dealt to the ranks
// as training's evaluations deal them. Every number of ranks computes the same bits.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dist/communicator.h"
#include "launcher/config/train_config.h"
#include "launcher/train/engine/evaluator.h"

namespace blockstep {

struct EvalFlags {
  std::string weights;
  std::vector<std::string> data;
  std::optional<int64_t> tokens;
  std::optional<bool> document_mask;
  std::string placement = "sharded";
  int64_t micro_slots = 8, slots = 0;
  int threads = 0;
  int64_t comm_timeout_s = 300;  // longest wait for another rank
  bool json = false;
};

struct EvalOutcome {
  EvalResult result;
  double unigram_perplexity = 0;  // of rank 0; 0 elsewhere
  std::string note;               // for people, of rank 0; empty: none
};

// Collective; the result is the same on every rank. An input that a rank cannot use is everyone's
// error and names that rank, unless there is only one. OUT_OF_RANGE: the loss is not finite.
absl::StatusOr<EvalOutcome> EvaluateRank(const EvalFlags& flags, const RankGroup& group,
                                         int threads);

}  // namespace blockstep
