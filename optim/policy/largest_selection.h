// The largest selection within BlockLLM's budget, whatever the norms are: SelectTensors takes
// tensors until their sum reaches the budget, so a set is reachable if leaving out one of its
// tensors, the one that crossed, brings the sum below.
#pragma once

#include <cstdint>
#include <vector>

namespace blockstep {

// Indices into `sizes`, ascending, of a set T with the largest sum such that some t in T has
// sum(T) - sizes[t] < budget. Where several tensors have one size, those that come first are taken.
// Exact: subset sums in units of the sizes' greatest common divisor, which for a model is at least
// its hidden size.
std::vector<int> LargestSelection(const std::vector<int64_t>& sizes, double budget);

}  // namespace blockstep
