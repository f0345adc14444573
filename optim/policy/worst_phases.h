// The phases of a policy that a memory plan has to look at: what any phase it can reach needs is
// bounded by one of these.
#pragma once

#include <cstdint>
#include <vector>

#include "core/step/directive.h"
#include "optim/policy/policy.h"

namespace blockstep {

// One directive per phase, one step each from step 0 on, for one group; `config` has passed
// MakePolicy.
//   full       all tensors
//   badam      each block
//   scripted   each phase
//   blockllm   the passes of the sweep, each by itself; then the selections with the most elements
//              that the budget lets through, the crossing tensor included, beside the largest
//              probes: once with the largest selection of all, once with the largest that leaves
//              the largest tensors to the probes. Where tensors of one size may take each other's
//              place, those are taken that reach deepest and spread over most layers, since they
//              keep the most activations.
std::vector<Directive> WorstPhases(const PolicyConfig& config, const TensorTable& table);

// Whether a run of the policy has no other active sets than these. BlockLLM takes sets by their
// norms: another one may have more tensors, if fewer elements, or reach deeper.
bool WorstPhasesAreAll(const PolicyConfig& config);

// The largest selection within BlockLLM's budget, whatever the norms are: SelectTensors takes
// tensors until their sum reaches the budget, so a set is reachable if leaving out one of its
// tensors, the one that crossed, brings the sum below.
//
// Indices into `sizes`, ascending, of a set T with the largest sum such that some t in T has
// sum(T) - sizes[t] < budget. Where several tensors have one size, those that come first are taken.
// Exact: subset sums in units of the sizes' greatest common divisor, which for a model is at least
// its hidden size.
std::vector<int> LargestSelection(const std::vector<int64_t>& sizes, double budget);

}  // namespace blockstep
