#include "optim/policy/worst_phases.h"

#include <algorithm>
#include <numeric>

#include "core/base/str.h"
#include "optim/policy/blockllm_select.h"
#include "optim/policy/blocks.h"

namespace blockstep {
namespace {

class Phases {
 public:
  void Add(DirectiveKind kind, ActiveSet set, std::string label) {
    for (const Directive& d : list_) {
      if (d.kind == kind && d.sets[0] == set) return;
    }
    const auto step = static_cast<int64_t>(list_.size());
    Directive d{.kind = kind, .from = step, .through = step, .phase = step};
    d.sets.push_back(std::move(set));
    d.label = std::move(label);
    list_.push_back(std::move(d));
  }
  std::vector<Directive> Take() { return std::move(list_); }

 private:
  std::vector<Directive> list_;
};

// Candidates of one size in the order in which they are taken: the embedding first, since all of
// backward lies above it; then the last tensors of all layers, since a product's input has to be
// kept for its dW and the widest one, down's, comes last.
std::vector<int> ByDepth(const PolicyConfig& config, const TensorTable& table) {
  std::vector<int> order;
  for (int i = 0; i < static_cast<int>(table.tensors.size()); ++i) {
    if (TensorPolicyOf(config, table, i) == TensorPolicy::kAsBlocks) order.push_back(i);
  }
  const auto place = [&](int t) { return t - table.units[table.tensors[t].unit].tensors[0]; };
  const auto embedding = [&](int t) { return PartOf(table, t) == ModelPart::kEmbedding; };
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return embedding(a) != embedding(b) ? embedding(a) : place(a) > place(b);
  });
  return order;
}

int64_t ElementsOf(const TensorTable& table, const std::vector<int>& tensors) {
  int64_t sum = 0;
  for (const int t : tensors) sum += table.tensors[t].size();
  return sum;
}

std::vector<int> Largest(const TensorTable& table, std::vector<int> tensors, int count) {
  std::stable_sort(tensors.begin(), tensors.end(),
                   [&](int a, int b) { return table.tensors[a].size() > table.tensors[b].size(); });
  if (tensors.size() > static_cast<size_t>(count)) tensors.resize(count);
  return tensors;
}

bool Contains(const std::vector<int>& list, int value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

// The largest selection from `from`, with the largest probes beside it.
void AddSelection(const PolicyConfig& config, const TensorTable& table,
                  const std::vector<int>& candidates, const std::vector<int>& from,
                  std::string label, Phases& phases) {
  std::vector<int64_t> sizes;
  for (const int t : from) sizes.push_back(table.tensors[t].size());
  const double budget = (1 - config.sparsity) * static_cast<double>(ElementsOf(table, candidates));
  if (ElementsOf(table, from) < budget) return;  // never the whole of a selection
  std::vector<int> selected;
  for (const int i : LargestSelection(sizes, budget)) selected.push_back(from[i]);
  std::vector<int> trained = selected;
  for (int i = 0; i < static_cast<int>(table.tensors.size()); ++i) {
    if (TensorPolicyOf(config, table, i) == TensorPolicy::kAlways) trained.push_back(i);
  }
  std::vector<ActiveEntry> entries = MakeSet(table, trained).entries;
  const int cut =
      config.probe_scope == ProbeScope::kAll ? 0 : CutUnit(table, MakeSet(table, trained));
  std::vector<int> probes;
  for (const int t : candidates) {
    if (table.tensors[t].unit >= cut && !Contains(selected, t)) probes.push_back(t);
  }
  for (const int t : Largest(table, probes, config.probes_per_step)) {
    entries.push_back(WholeTensor(table, t, Role::kProbe));
  }
  phases.Add(DirectiveKind::kTrain, MakeSet(std::move(entries)), std::move(label));
}

void AddBlockLlm(const PolicyConfig& config, const TensorTable& table, Phases& phases) {
  std::vector<int> in_order;
  for (int i = 0; i < static_cast<int>(table.tensors.size()); ++i) {
    if (TensorPolicyOf(config, table, i) == TensorPolicy::kAsBlocks) in_order.push_back(i);
  }
  std::vector<ActiveSet> passes = SweepPasses(table, in_order, SweepElements(config, table));
  for (size_t i = 0; i < passes.size(); ++i) {
    phases.Add(DirectiveKind::kSweep, std::move(passes[i]),
               Cat("sweep, pass ", i + 1, " of ", passes.size()));
  }
  const std::vector<int> candidates = ByDepth(config, table);
  AddSelection(config, table, candidates, candidates, "largest selection", phases);
  const std::vector<int> probes = Largest(table, candidates, config.probes_per_step);
  std::vector<int> rest = candidates;
  std::erase_if(rest, [&](int t) { return Contains(probes, t); });
  AddSelection(config, table, candidates, rest, "largest selection, largest probes", phases);
}

}  // namespace

std::vector<Directive> WorstPhases(const PolicyConfig& config, const TensorTable& table) {
  Phases phases;
  if (config.name == "badam") {
    for (BadamBlock& block : BadamBlocks(config, table)) {
      phases.Add(DirectiveKind::kTrain, std::move(block.set), std::move(block.label));
    }
  } else if (config.name == "scripted") {
    for (size_t i = 0; i < config.script.size(); ++i) {
      phases.Add(DirectiveKind::kTrain, config.script[i].set, Cat("script ", i));
    }
  } else if (config.name == "blockllm") {
    AddBlockLlm(config, table, phases);
  } else {
    std::vector<int> all(table.tensors.size());
    std::iota(all.begin(), all.end(), 0);
    phases.Add(DirectiveKind::kTrain, MakeSet(table, all), "all");
  }
  return phases.Take();
}

bool WorstPhasesAreAll(const PolicyConfig& config) { return config.name != "blockllm"; }

}  // namespace blockstep
