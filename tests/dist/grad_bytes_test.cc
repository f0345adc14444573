// Bytes on the wire and bytes of memory of GradReducer, each beside a formula of its own.
#include <gtest/gtest.h>

#include <algorithm>

#include "core/base/philox.h"
#include "dist/null/null_communicator.h"
#include "tests/dist/grad_fixture.h"
#include "tests/dist/ranks.h"

namespace blockstep {
namespace {

int64_t Padded(int64_t bytes) { return (bytes + 255) / 256 * 256; }

// Rows of a quantum: 256 elements of whole rows.
int64_t Quantum(int64_t cols) {
  int64_t rows = 1;
  while (rows * cols % 256 != 0) ++rows;
  return rows;
}

int64_t OwnElements(const TensorTable& table, const ActiveEntry& e, int ranks, int rank) {
  const TensorInfo& t = table.tensors[e.tensor];
  const int64_t q = Quantum(t.cols);
  const int64_t each = ((t.rows + q - 1) / q + ranks - 1) / ranks * q;
  const int64_t begin = std::max(e.rows.begin, std::min(rank * each, t.rows));
  const int64_t end = std::min(e.rows.end, std::min((rank + 1) * each, t.rows));
  return std::max<int64_t>(0, end - begin) * t.cols;
}
int64_t Elements(const TensorTable& table, const ActiveEntry& e) {
  return e.rows.size() * table.tensors[e.tensor].cols;
}

// Nodes a range of slots needs and the most buffers it takes, from the definition: greedy by hand.
struct Nodes {
  int64_t nodes = 0, depth = 0;
};
Nodes NodesOf(int64_t slots, int64_t begin, int64_t end) {
  Nodes result;
  std::vector<std::pair<int64_t, int64_t>> stack;  // [begin, width), width of the full node
  for (int64_t s = begin; s < end; ++s) {
    stack.push_back({s, 1});
    result.depth = std::max<int64_t>(result.depth, stack.size());
    for (bool grown = true; grown;) {
      grown = false;
      auto& [b, w] = stack.back();
      if (b % (2 * w) == 0 && b + w >= slots && (b > 0 || w < slots)) {
        w *= 2;
        grown = true;
      } else if (stack.size() > 1 && b % (2 * w) == w && stack[stack.size() - 2].first == b - w &&
                 stack[stack.size() - 2].second == w) {
        stack.pop_back();
        stack.back().second *= 2;
        grown = true;
      }
    }
  }
  result.nodes = stack.size();
  return result;
}

// Eight sets: one tensor, then random ones of whole tensors and row ranges.
std::vector<ActiveSet> Sets(const TensorTable& table) {
  std::vector<ActiveSet> sets(8);
  sets[0].entries = {WholeTensor(table, 3)};
  for (uint64_t s = 1; s < 8; ++s) {
    for (int t = 0; t < static_cast<int>(table.tensors.size()); ++t) {
      const uint64_t draw = DrawU64(42, RandomUse::kTest, static_cast<uint32_t>(s), t);
      if (draw % 3 != 0) continue;
      ActiveEntry e = WholeTensor(table, t, draw % 7 == 0 ? Role::kProbe : Role::kTrain);
      if (e.rows.end > 64 && draw % 2 == 0) e.rows.begin = 64;
      sets[s].entries.push_back(e);
    }
  }
  return sets;
}

const GradCase kCases[] = {
    {.slots = 8, .micro_slots = 2},
    {.accumulation = GradAccumulation::kSharded, .slots = 8, .micro_slots = 2},
    {.numerics = Numerics::kSlotExact, .slots = 7},
};

TEST(GradBytes, OnTheWire) {
  for (const Tie tie : {Tie::kNo, Tie::kYes}) {
    const TensorTable table = TinyTable(tie);
    for (const GradCase& c : kCases) {
      for (int ranks = 1; ranks <= 4; ++ranks) {
        RunRanks(ranks, {}, [&](Communicator& group) {
          GradRank rank(table, c, PlainCpu(), group);
          for (const ActiveSet& set : Sets(table)) {
            const int me = group.rank();
            int64_t to_others = 0;
            for (const ActiveEntry& e : set.entries) {
              to_others += 4 * (Elements(table, e) - OwnElements(table, e, ranks, me));
            }
            const SlotSpan span = SpanOf(c, ranks, me);
            const CommBytes before = group.bytes_sent();
            rank.Begin(set);
            rank.Step();
            (void)rank.Reduced();
            const CommBytes after = group.bytes_sent();
            if (c.numerics == Numerics::kSlotExact) {
              const int64_t nodes = NodesOf(c.slots, span.mine.begin, span.mine.end).nodes;
              EXPECT_EQ(after.exchange - before.exchange, nodes * to_others);
              EXPECT_EQ(after.reduce_scatter, 0);
            } else {
              const bool sharded = c.accumulation == GradAccumulation::kSharded;
              EXPECT_EQ(after.reduce_scatter - before.reduce_scatter,
                        to_others * (sharded ? span.micro_steps : 1));
              EXPECT_EQ(after.exchange, 0);
            }
          }
        });
      }
    }
  }
}

struct Memory {
  int64_t gradients = 0, slot_probe = 0, communication = 0;
};

Memory Formula(const TensorTable& table, const ActiveSet& set, const GradCase& c, int ranks,
               int rank) {
  Memory m;
  const auto keep = [&](const ActiveEntry& e, int64_t bytes) {
    (e.role == Role::kProbe ? m.slot_probe : m.gradients) += bytes;
  };
  if (c.numerics == Numerics::kSlotExact) {
    int64_t depth = 0, total = 0, fewest = c.slots, largest = 0;
    for (int r = 0; r < ranks; ++r) {
      const Nodes n = NodesOf(c.slots, c.slots * r / ranks, c.slots * (r + 1) / ranks);
      depth = std::max(depth, n.depth);
      total += n.nodes;
      fewest = std::min(fewest, n.nodes);
    }
    for (const ActiveEntry& e : set.entries) {
      keep(e, Padded(4 * Elements(table, e)));
      m.slot_probe += (depth - 1) * Padded(4 * Elements(table, e));
      for (int r = 0; r < ranks; ++r) {
        largest = std::max(largest, 4 * OwnElements(table, e, ranks, r));
      }
    }
    m.communication = Padded(largest * (total - fewest));
    return m;
  }
  if (c.accumulation == GradAccumulation::kLocal || ranks == 1) {
    for (const ActiveEntry& e : set.entries) keep(e, Padded(4 * Elements(table, e)));
    return m;
  }
  int64_t layer = 0, ends = 0;
  for (size_t u = 0; u < table.units.size(); ++u) {
    int64_t unit = 0;
    for (const ActiveEntry& e : set.entries) {
      if (table.tensors[e.tensor].unit != static_cast<int>(u)) continue;
      unit += Padded(4 * Elements(table, e));
      keep(e, Padded(4 * OwnElements(table, e, ranks, rank)));
    }
    if (table.units[u].kind == UnitKind::kLayer) {
      layer = std::max(layer, unit);
    } else {
      ends = table.tied ? ends + unit : std::max(ends, unit);
    }
  }
  m.communication = 2 * layer + ends;
  return m;
}

TEST(GradBytes, OfMemory) {
  for (const Tie tie : {Tie::kNo, Tie::kYes}) {
    const TensorTable table = TinyTable(tie);
    for (const GradCase& c : kCases) {
      for (int ranks = 1; ranks <= 5; ++ranks) {
        for (int r = 0; r < ranks; ++r) {
          NullCommunicator group(ranks, r);
          for (const Backend& backend : {PlainNull(), PlainCpu()}) {
            GradRank rank(table, c, backend, group);
            for (const ActiveSet& set : Sets(table)) {
              rank.Begin(set);
              const Memory want = Formula(table, set, c, ranks, r);
              const auto of = [&](MemoryClass cls) {
                return rank.arena().use().current[static_cast<size_t>(cls)];
              };
              EXPECT_EQ(of(MemoryClass::kGradients), want.gradients);
              EXPECT_EQ(of(MemoryClass::kSlotProbe), want.slot_probe);
              EXPECT_EQ(of(MemoryClass::kCommunication), want.communication);
              EXPECT_EQ(rank.arena().use().total,
                        want.gradients + want.slot_probe + want.communication);
            }
          }
        }
      }
    }
  }
}

// A rank's reduced rows differ from the mean by at most a quantum per whole active tensor.
TEST(GradBytes, AreBalanced) {
  const TensorTable table = TinyTable(Tie::kNo);
  for (int ranks = 2; ranks <= 5; ++ranks) {
    std::vector<std::vector<int64_t>> elements(ranks);
    for (int r = 0; r < ranks; ++r) {
      NullCommunicator group(ranks, r);
      GradRank rank(table, {}, PlainNull(), group);
      for (ActiveSet set : Sets(table)) {
        for (ActiveEntry& e : set.entries) e.rows = {0, table.tensors[e.tensor].rows};
        rank.Begin(set);
        int64_t sum = 0;
        for (size_t e = 0; e < set.entries.size(); ++e) {
          sum += rank.reducer().Reduced(static_cast<int>(e)).size();
        }
        elements[r].push_back(sum);
      }
    }
    const std::vector<ActiveSet> sets = Sets(table);
    for (size_t s = 0; s < sets.size(); ++s) {
      int64_t most = 0, total = 0, quanta = 0;
      for (int r = 0; r < ranks; ++r) {
        most = std::max(most, elements[r][s]);
        total += elements[r][s];
      }
      for (const ActiveEntry& e : sets[s].entries) {
        const int64_t cols = table.tensors[e.tensor].cols;
        quanta += Quantum(cols) * cols;
      }
      EXPECT_LE(static_cast<double>(most) - static_cast<double>(total) / ranks,
                static_cast<double>(quanta));
    }
  }
}

}  // namespace
}  // namespace blockstep
