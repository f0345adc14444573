#include "optim/policy/blockllm_select.h"

#include <algorithm>
#include <cmath>

#include "core/base/check.h"

namespace blockstep {

double ScoreNorm(const TensorStatistics& s, BlockLlmScore score) {
  const auto elements = static_cast<double>(s.elements);
  switch (score) {
    case BlockLlmScore::kGradNorm:
      return std::sqrt(s.squared_norm);
    case BlockLlmScore::kGradRms:
      return std::sqrt(s.squared_norm / elements);
    case BlockLlmScore::kAdam:
      return std::sqrt(s.adam_squared_norm < 0 ? elements : s.adam_squared_norm);
  }
  CHECK(false);
}

std::vector<int> SelectTensors(const SelectionRule& rule,
                               const std::vector<TensorStatistics>& statistics) {
  struct Candidate {
    int index;
    bool never;  // paper: f = 0
    double score;
  };
  std::vector<Candidate> order;
  int64_t all = 0;
  for (size_t i = 0; i < statistics.size(); ++i) {
    const TensorStatistics& s = statistics[i];
    const double norm = ScoreNorm(s, rule.score);
    const auto selected = static_cast<double>(s.selected);
    const auto count = static_cast<double>(rule.count);
    Candidate c{.index = static_cast<int>(i), .never = false, .score = norm};
    if (rule.mode == BlockLlmMode::kRepaired) {
      c.score = norm / ((1 + selected) / (1 + count));
    } else if (s.selected == 0) {
      c.never = true;
    } else {
      c.score = norm / (selected / count);
    }
    order.push_back(c);
    all += s.elements;
  }
  std::sort(order.begin(), order.end(), [](const Candidate& a, const Candidate& b) {
    if (a.never != b.never) return a.never;
    if (a.score != b.score) return a.score > b.score;
    return a.index < b.index;
  });
  const double budget = (1 - rule.sparsity) * static_cast<double>(all);
  std::vector<int> taken;
  int64_t sum = 0;
  for (const Candidate& c : order) {
    if (static_cast<double>(sum) >= budget) break;
    taken.push_back(c.index);
    sum += statistics[c.index].elements;
  }
  std::sort(taken.begin(), taken.end());
  return taken;
}

int CutUnit(const TensorTable& table, const ActiveSet& set) {
  int cut = static_cast<int>(table.units.size());
  for (const ActiveEntry& e : set.entries) cut = std::min(cut, table.tensors[e.tensor].unit);
  return cut;
}

std::vector<ActiveSet> SweepPasses(const TensorTable& table, const std::vector<int>& tensors,
                                   int64_t most) {
  std::vector<ActiveSet> passes;
  int64_t room = 0;
  for (int tensor : tensors) {
    const int64_t size = table.tensors[tensor].size();
    CHECK_LE(size, most);
    if (passes.empty() || size > room) {
      passes.emplace_back();
      room = most;
    }
    passes.back().entries.push_back(WholeTensor(table, tensor, Role::kProbe));
    room -= size;
  }
  return passes;
}

int64_t SweepElements(const PolicyConfig& config, const TensorTable& table) {
  if (config.sweep_elements > 0) return config.sweep_elements;
  int64_t largest = 0;
  for (const UnitInfo& unit : table.units) {
    int64_t sum = 0;
    for (int tensor : unit.tensors) sum += table.tensors[tensor].size();
    largest = std::max(largest, sum);
  }
  return largest;
}

}  // namespace blockstep
