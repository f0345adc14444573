// BlockLLM's choice as a pure function of statistics (Algorithm 2 of arXiv 2406.17296, at tensor
// granularity, without the element mask, which the paper's own experiments skip).
#pragma once

#include <cstdint>
#include <vector>

#include "core/step/active_set.h"
#include "optim/policy/policy.h"

namespace blockstep {

// What is known of one candidate.
struct TensorStatistics {
  double squared_norm = 0;        // of the averaged raw gradient when last seen
  double adam_squared_norm = -1;  // of Adam's processed gradient, while it has moments; < 0: none
  int64_t elements = 0;
  int64_t selected = 0;  // repaired: steps it trained; paper: selections that took it
};

// The norm that `score` asks for, before the frequency. kAdam of a tensor without moments is
// sqrt(elements): bias-corrected first moments make every element of the processed gradient +-1.
double ScoreNorm(const TensorStatistics& s, BlockLlmScore score);

// Indices into `statistics`, ascending: sorted by norm / f (ties: lower index first), taken until
// their elements reach n_s = (1 - sparsity) * all elements, the tensor that crosses n_s included.
//   repaired: f = (1 + selected) / (1 + count), count = steps trained so far
//   paper:    f = selected / count, count = selections made so far; one that was never selected
//             (f = 0) comes before all others, by norm among its like
struct SelectionRule {
  BlockLlmMode mode = BlockLlmMode::kRepaired;
  BlockLlmScore score = BlockLlmScore::kGradNorm;
  double sparsity = 0.5;
  int64_t count = 0;
};
std::vector<int> SelectTensors(const SelectionRule& rule,
                               const std::vector<TensorStatistics>& statistics);

// Lowest unit that an entry lies in: backward stops there. The cut, at the grain of units.
int CutUnit(const TensorTable& table, const ActiveSet& set);

// Sweep passes: `tensors` as probes in table order, each pass at most `most` elements.
std::vector<ActiveSet> SweepPasses(const TensorTable& table, const std::vector<int>& tensors,
                                   int64_t most);

// PolicyConfig::sweep_elements, 0 resolved to the largest unit's elements.
int64_t SweepElements(const PolicyConfig& config, const TensorTable& table);

}  // namespace blockstep
