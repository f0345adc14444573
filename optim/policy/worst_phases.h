// The phases of a policy that a memory plan has to look at: what any phase it can reach needs is
// bounded by one of these.
#pragma once

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

}  // namespace blockstep
