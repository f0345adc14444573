#include "optim/policy/describe.h"

#include <algorithm>
#include <cstdio>
#include <numeric>

#include "core/base/str.h"
#include "optim/policy/blockllm_select.h"
#include "optim/policy/blocks.h"

namespace blockstep {
namespace {

bool InGemm(const TensorTable& table, int tensor) {
  if (table.tensors[tensor].vector) return false;
  return table.tied || PartOf(table, tensor) != ModelPart::kEmbedding;
}

// A unit whose dX GEMMs run for a cut at `cut`. The tied matrix multiplies at the top, whatever
// unit it lives in.
bool AboveCut(const TensorTable& table, int tensor, int cut) {
  return table.tensors[tensor].unit >= cut || PartOf(table, tensor) == ModelPart::kEmbedding;
}

struct Mean {
  FlopsPerToken flops;
  double elements = 0;
  double weight = 0;
  void Add(const TensorTable& table, const ActiveSet& set, double steps) {
    const FlopsPerToken f = Flops(table, set);
    flops.forward += f.forward * steps;
    flops.dx += f.dx * steps;
    flops.dw += f.dw * steps;
    elements += static_cast<double>(set.Elements(table)) * steps;
    weight += steps;
  }
  void Finish(PolicyCost& cost) const {
    cost.flops = {flops.forward / weight, flops.dx / weight, flops.dw / weight};
    cost.elements = elements / weight;
  }
};

ActiveSet Everything(const TensorTable& table) {
  std::vector<int> all(table.tensors.size());
  std::iota(all.begin(), all.end(), 0);
  return MakeSet(table, all);
}

void BlockLlmCost(const PolicyConfig& config, const TensorTable& table, PolicyCost& cost) {
  double candidates = 0, count = 0, gemm = 0;
  std::vector<int> always;
  for (int i = 0; i < static_cast<int>(table.tensors.size()); ++i) {
    const TensorPolicy treatment = TensorPolicyOf(config, table, i);
    if (treatment == TensorPolicy::kAlways) always.push_back(i);
    if (treatment != TensorPolicy::kAsBlocks) continue;
    const auto size = static_cast<double>(table.tensors[i].size());
    candidates += size;
    count += 1;
    if (InGemm(table, i)) gemm += size;
  }
  const double share = 1 - config.sparsity;
  const FlopsPerToken all = Flops(table, Everything(table));
  const double probes = std::min<double>(config.probes_per_step, count * config.sparsity);
  cost.flops = {all.forward, all.dx, Flops(table, MakeSet(table, always)).dw};
  cost.flops.dw += 2 * gemm * std::min(1.0, share + probes / count);
  cost.elements = share * candidates + static_cast<double>(MakeSet(table, always).Elements(table));
  cost.basis = "estimate: cut at the lowest unit";
}

}  // namespace

FlopsPerToken Flops(const TensorTable& table, const ActiveSet& set) {
  FlopsPerToken flops;
  const int cut = CutUnit(table, set);
  for (int i = 0; i < static_cast<int>(table.tensors.size()); ++i) {
    if (!InGemm(table, i)) continue;
    const double two_p = 2.0 * static_cast<double>(table.tensors[i].size());
    flops.forward += two_p;
    if (!set.empty() && AboveCut(table, i, cut)) flops.dx += two_p;
  }
  for (const ActiveEntry& e : set.entries) {
    if (!InGemm(table, e.tensor)) continue;
    flops.dw += 2.0 * static_cast<double>(e.rows.size() * table.tensors[e.tensor].cols);
  }
  return flops;
}

PolicyCost Cost(const PolicyConfig& config, const TensorTable& table) {
  PolicyCost cost;
  Mean mean;
  if (config.name == "badam") {
    const std::vector<BadamBlock> blocks = BadamBlocks(config, table);
    for (const BadamBlock& block : blocks) mean.Add(table, block.set, 1);
    mean.Finish(cost);
    cost.basis = Cat("mean of ", blocks.size(), " blocks");
  } else if (config.name == "scripted") {
    for (const ScriptedPhase& phase : config.script) {
      mean.Add(table, phase.set, static_cast<double>(phase.steps));
    }
    mean.Finish(cost);
    cost.basis = Cat("mean of ", config.script.size(), " scripted phases");
  } else if (config.name == "blockllm") {
    BlockLlmCost(config, table, cost);
  } else {
    mean.Add(table, Everything(table), 1);
    mean.Finish(cost);
    cost.basis = "all tensors";
  }
  cost.gain = Flops(table, Everything(table)).total() / cost.flops.total();
  return cost;
}

std::string Describe(const PolicyConfig& config, const TensorTable& table) {
  const PolicyCost cost = Cost(config, table);
  char gain[128];
  std::snprintf(gain, sizeof(gain),
                ": %.2f%% of parameters per step, %.2fx fewer FLOPs per token than full "
                "(without attention)\n",
                100 * cost.elements / static_cast<double>(table.parameters()), cost.gain);
  char flops[128];
  std::snprintf(flops, sizeof(flops), ": forward %.3g, dX %.3g, dW %.3g FLOPs (",
                cost.flops.forward, cost.flops.dx, cost.flops.dw);
  return Cat(config.name, gain, config.name, flops, cost.basis, ")");
}

}  // namespace blockstep
