// Memory that grows with the active set, of whole runs: bytes of gradients and optimizer state that
// the arena holds per rank equal a formula to the byte, for eight shuffled active sets, N = 1..4.
#include <gtest/gtest.h>

#include <iostream>

#include "core/base/str.h"
#include "model/llama_tensors.h"
#include "tests/e2e/engine_harness.h"
#include "tests/e2e/oracle.h"

namespace blockstep::testing {
namespace {

constexpr int64_t kSlots = 7;

struct Mode {
  const char* name;
  Numerics numerics;
  GradAccumulation accumulation;
  int64_t micro_slots;
};
constexpr Mode kModes[] = {
    {"fast, local", Numerics::kFast, GradAccumulation::kLocal, 2},
    {"fast, sharded", Numerics::kFast, GradAccumulation::kSharded, 2},
    {"slot_exact", Numerics::kSlotExact, GradAccumulation::kLocal, 1},
};

struct Bytes {
  int64_t gradients = 0, slot_probe = 0, state = 0;
};

Bytes Formula(const TensorTable& table, const ActiveSet& set, const Mode& mode, int ranks,
              int rank) {
  Bytes b;
  for (const ActiveEntry& e : set.entries) {
    const int64_t all = 4 * Elements(table, e), own = 4 * OwnElements(table, e, ranks, rank);
    int64_t& kept = e.role == Role::kProbe ? b.slot_probe : b.gradients;
    if (mode.accumulation == GradAccumulation::kSharded && ranks > 1) {
      kept += own > 0 ? Block(own) : 0;
    } else {
      kept += Block(all);
    }
    if (mode.numerics == Numerics::kSlotExact) {
      b.slot_probe += (TreeBuffers(kSlots, ranks) - 1) * Block(all);
    }
    if (e.role == Role::kTrain && own > 0) b.state += 2 * Block(own);  // AdamW: m and v
  }
  return b;
}

RunSpec SpecOf(const TensorTable& table, const Mode& mode, int ranks, bool tied) {
  RunSpec spec{.ranks = ranks,
               .policy = {.name = "scripted"},
               .steps = 8,
               .slots = kSlots,
               .micro_slots = mode.micro_slots,
               .tokens = 8,
               .numerics = mode.numerics,
               .accumulation = mode.accumulation,
               .tied = tied};
  for (const ActiveSet& set : EightSets(table)) spec.policy.script.push_back({set, 1});
  return spec;
}

int64_t OwnedState(StepEngine& engine) {
  int64_t elements = 0;
  for (const EntryState& state : engine.states().entries()) elements += state.tensors[0].size();
  return elements;
}

class Memory : public ::testing::TestWithParam<bool> {};

TEST_P(Memory, GradientsAndStateEqualTheFormulaToTheByte) {
  const bool tied = GetParam();
  const TensorTable table = LlamaTensors(TinyLlama(tied));
  const std::vector<ActiveSet> sets = EightSets(table);
  for (const Mode& mode : kModes) {
    for (int ranks = 1; ranks <= 4; ++ranks) {
      RunSpec spec = SpecOf(table, mode, ranks, tied);
      std::vector<int> checked(ranks, 0);
      spec.after_step = [&](int rank, StepEngine&, const RankGroup&, Arena& arena,
                            const StepResult& result) {
        const Bytes want = Formula(table, sets[result.report.step], mode, ranks, rank);
        const auto held = [&](MemoryClass c) {
          return arena.use().current[static_cast<size_t>(c)];
        };
        const std::string where = Cat(mode.name, ", rank ", rank, " of ", ranks, ", step ",
                                      result.report.step, "\n", arena.Table());
        EXPECT_EQ(held(MemoryClass::kGradients), want.gradients) << where;
        EXPECT_EQ(held(MemoryClass::kSlotProbe), want.slot_probe) << where;
        EXPECT_EQ(held(MemoryClass::kState), want.state) << where;
        ++checked[rank];
      };
      RunTraining(spec);
      EXPECT_EQ(checked, std::vector<int>(ranks, 8));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Tied, Memory, ::testing::Bool());

// Of whole tensors no rank holds more than a quantum per active tensor above the mean. A row range
// lies where it lies: it costs no rank more than the whole tensor would.
TEST(Balance, OfState) {
  const TensorTable table = LlamaTensors(TinyLlama(false));
  for (const bool whole : {true, false}) {
    std::vector<ActiveSet> sets = EightSets(table);
    for (ActiveSet& set : sets) {
      for (ActiveEntry& e : set.entries) {
        if (whole) e.rows = {0, table.tensors[e.tensor].rows};
      }
    }
    double largest_share = 0;
    for (int ranks = 2; ranks <= 4; ++ranks) {
      RunSpec spec = SpecOf(table, kModes[0], ranks, false);
      for (size_t s = 0; s < sets.size(); ++s) spec.policy.script[s].set = sets[s];
      std::vector<std::vector<int64_t>> state(sets.size(), std::vector<int64_t>(ranks));
      spec.after_step = [&](int rank, StepEngine& engine, const RankGroup&, Arena&,
                            const StepResult& result) {
        state[result.report.step][rank] = OwnedState(engine);
      };
      RunTraining(spec);
      for (size_t s = 0; s < sets.size(); ++s) {
        int64_t quanta = 0, active = 0, whole_shares = 0;
        for (const ActiveEntry& e : sets[s].entries) {
          if (e.role != Role::kTrain) continue;
          const TensorInfo& t = table.tensors[e.tensor];
          quanta += QuantumSize(t.cols);
          active += Elements(table, e);
          whole_shares += OwnElements(t, {0, t.rows}, ranks, 0);
        }
        const int64_t sum = std::accumulate(state[s].begin(), state[s].end(), int64_t{0});
        const int64_t most = *std::max_element(state[s].begin(), state[s].end());
        EXPECT_EQ(sum, active);
        EXPECT_LE(most, whole_shares);
        if (!whole) continue;
        const double above = static_cast<double>(most) - static_cast<double>(sum) / ranks;
        EXPECT_LE(above, static_cast<double>(quanta)) << "set " << s << ", " << ranks << " ranks";
        largest_share = std::max(largest_share, above / static_cast<double>(quanta));
      }
    }
    if (whole) std::cout << "max - mean, share of a quantum per tensor: " << largest_share << "\n";
  }
}

}  // namespace
}  // namespace blockstep::testing
