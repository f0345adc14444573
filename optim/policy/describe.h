// What an active set costs, for people: floating-point operations per token by count. Attention's
// products of queries, keys and values are left out (they grow with the context, not with P), so
// are norms and the embedding's look-up; a multiply-add counts 2.
//   P = elements of all matrices that a GEMM multiplies: all but an untied embedding
//   forward 2P, dX 2 * (elements of P in units from the cut up), dW 2 * (elements of P that train
//   or probe)
#pragma once

#include <string>

#include "core/step/active_set.h"
#include "optim/policy/policy.h"

namespace blockstep {

struct FlopsPerToken {
  double forward = 0;
  double dx = 0;  // the cut's own unit counted whole
  double dw = 0;
  double total() const { return forward + dx + dw; }
};
FlopsPerToken Flops(const TensorTable& table, const ActiveSet& set);

struct PolicyCost {
  FlopsPerToken flops;  // mean over the steps of a run
  double gain = 1;      // of full training's total over this one
  double elements = 0;  // mean of elements that train at a step
  std::string basis;    // what the mean is over, or which bound it is
};
// `full`, `badam` and `scripted`: the exact mean over a cycle of blocks, or the script.
// `blockllm`: an estimate before the run, with the budget spread to the lowest unit and probes of
// mean size; a selection that leaves low layers out gains more. `config` has passed MakePolicy.
PolicyCost Cost(const PolicyConfig& config, const TensorTable& table);

// One line: "badam: 1.65x fewer FLOPs per token than full by count (...)".
std::string Describe(const PolicyConfig& config, const TensorTable& table);

}  // namespace blockstep
