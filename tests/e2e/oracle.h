// What docs/ says about shards, slots and the active set (collectives.md, memory.md), written down
// a second time for tests: nothing here calls core/tensor/sharding, dist/slot_tree or
// model/save_plan.
#pragma once

#include <algorithm>
#include <numeric>
#include <vector>

#include "core/base/philox.h"
#include "core/step/active_set.h"

namespace blockstep::testing {

inline int64_t Up(int64_t a, int64_t b) { return (a + b - 1) / b; }
// What the arena takes for a block.
inline int64_t Block(int64_t bytes) { return Up(std::max<int64_t>(bytes, 1), 256) * 256; }

// Elements of a quantum: the fewest whole rows with a multiple of 256.
inline int64_t QuantumSize(int64_t cols) { return std::lcm(cols, int64_t{256}); }

// Elements of rows [begin, end) of `t` that `rank` owns: of ceil(quanta / ranks) quanta each.
inline int64_t OwnElements(const TensorInfo& t, Range rows, int ranks, int rank) {
  const int64_t quantum = QuantumSize(t.cols);
  const int64_t share = Up(Up(t.size(), quantum), ranks) * quantum;
  const int64_t begin = std::max(rank * share, rows.begin * t.cols);
  const int64_t end = std::min((rank + 1) * share, rows.end * t.cols);
  return std::max<int64_t>(0, end - begin);
}
inline int64_t OwnElements(const TensorTable& table, const ActiveEntry& e, int ranks, int rank) {
  return OwnElements(table.tensors[e.tensor], e.rows, ranks, rank);
}
inline int64_t Elements(const TensorTable& table, const ActiveEntry& e) {
  return e.rows.size() * table.tensors[e.tensor].cols;
}

inline Range SlotsOfRank(int64_t slots, int ranks, int rank) {
  return {slots * rank / ranks, slots * (rank + 1) / ranks};
}

// Nodes that [begin, end) is made of in the tree over `slots`: from the left, always the widest one
// that starts here and stays inside; a node that reaches the last slot may be wider than what is
// left.
inline int64_t TreeNodes(int64_t slots, int64_t begin, int64_t end) {
  int64_t nodes = 0;
  for (int64_t at = begin; at < end; ++nodes) {
    int64_t width = 1;
    while (width < slots && at % (2 * width) == 0 && std::min(at + 2 * width, slots) <= end) {
      width *= 2;
    }
    at += width;
  }
  return nodes;
}
// Buffers a rank needs while it adds up its slots: one per node of what is finished, one for the
// slot in hand. All ranks take what the one with the most needs.
inline int64_t TreeBuffers(int64_t slots, int ranks) {
  int64_t most = 0;
  for (int r = 0; r < ranks; ++r) {
    const Range mine = SlotsOfRank(slots, ranks, r);
    for (int64_t s = mine.begin; s < mine.end; ++s) {
      most = std::max(most, TreeNodes(slots, mine.begin, s) + 1);
    }
  }
  return most;
}

// Eight sets in shuffled order: one tensor alone, one of a row range of the embedding beside a
// layer's tensor, and six random ones, probes and row ranges among them.
inline std::vector<ActiveSet> EightSets(const TensorTable& table) {
  const int tensors = static_cast<int>(table.tensors.size());
  const auto draw = [](uint32_t set, int i) { return DrawU64(42, RandomUse::kTest, set, i); };
  std::vector<ActiveSet> sets(8);
  sets[0].entries = {WholeTensor(table, 5)};
  sets[1].entries = {WholeTensor(table, 0), WholeTensor(table, 12)};
  sets[1].entries[0].rows.begin = 64;
  for (uint32_t s = 2; s < 8; ++s) {
    const int train = static_cast<int>(draw(s, tensors) % tensors);
    const int lowest = static_cast<int>(draw(s, tensors + 1) % tensors);
    for (int t = 0; t < tensors; ++t) {
      const uint64_t word = draw(s, t);
      if (t != train && (t < lowest || word % 3 != 0)) continue;
      const bool probe = t != train && word % 5 == 0;
      ActiveEntry e = WholeTensor(table, t, probe ? Role::kProbe : Role::kTrain);
      if (e.rows.end > 64 && word % 2 == 0) e.rows.begin = 64;
      sets[s].entries.push_back(e);
    }
  }
  for (uint32_t i = 7; i > 0; --i) std::swap(sets[i], sets[draw(100, i) % (i + 1)]);
  return sets;
}

}  // namespace blockstep::testing
