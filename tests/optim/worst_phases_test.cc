// The selections that a memory plan counts with are the largest that a run can reach, and are
// reached.
#include "optim/policy/worst_phases.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/base/philox.h"
#include "optim/policy/blockllm_select.h"
#include "optim/policy/blocks.h"
#include "tests/optim/tiny_table.h"

namespace blockstep {
namespace {

int64_t Draw(uint64_t index, int64_t below) {
  return static_cast<int64_t>(UniformBelow(DrawU64(5, RandomUse::kTest, 0, index), below));
}

int64_t SumOf(const std::vector<int64_t>& sizes, const std::vector<int>& set) {
  int64_t sum = 0;
  for (const int i : set) sum += sizes[i];
  return sum;
}

bool Reachable(const std::vector<int64_t>& sizes, const std::vector<int>& set, double budget) {
  const int64_t sum = SumOf(sizes, set);
  return std::any_of(set.begin(), set.end(),
                     [&](int t) { return static_cast<double>(sum - sizes[t]) < budget; });
}

TEST(LargestSelection, IsTheLargestOfAllSubsets) {
  uint64_t draws = 0;
  for (int round = 0; round < 200; ++round) {
    std::vector<int64_t> sizes;
    const int64_t count = 1 + Draw(++draws, 9);
    for (int64_t i = 0; i < count; ++i) sizes.push_back(64 * (1 + Draw(++draws, 12)));
    int64_t all = 0;
    for (const int64_t s : sizes) all += s;
    const double budget = static_cast<double>(all) * static_cast<double>(Draw(++draws, 101)) / 100;
    int64_t best = 0;
    for (int bits = 0; bits < 1 << count; ++bits) {
      std::vector<int> set;
      for (int i = 0; i < count; ++i) {
        if (bits >> i & 1) set.push_back(i);
      }
      if (Reachable(sizes, set, budget)) best = std::max(best, SumOf(sizes, set));
    }
    const std::vector<int> found = LargestSelection(sizes, budget);
    EXPECT_EQ(SumOf(sizes, found), best) << "round " << round;
    EXPECT_TRUE(found.empty() || Reachable(sizes, found, budget)) << "round " << round;
  }
}

int64_t Trained(const TensorTable& table, const ActiveSet& set) {
  int64_t sum = 0;
  for (const ActiveEntry& e : set.entries) {
    if (e.role == Role::kTrain) sum += e.rows.size() * table.tensors[e.tensor].cols;
  }
  return sum;
}

TEST(WorstPhases, NoBlockLlmSelectionIsLarger) {
  const TensorTable table = TinyTable();
  for (const double sparsity : {0.0, 0.3, 0.5, 0.9}) {
    PolicyConfig config{.name = "blockllm", .total_steps = 10, .sparsity = sparsity};
    config.probes_per_step = 2;
    ASSERT_TRUE(MakePolicy(config, table).ok());
    int64_t worst = 0;
    size_t probes = 0;
    for (const Directive& d : WorstPhases(config, table)) {
      EXPECT_TRUE(Validate(d.sets[0], table).ok()) << d.label;
      if (d.kind == DirectiveKind::kSweep) continue;
      worst = std::max(worst, Trained(table, d.sets[0]));
      for (const ActiveEntry& e : d.sets[0].entries) probes += e.role == Role::kProbe;
    }
    EXPECT_EQ(probes > 0, sparsity > 0);
    int64_t largest = 0;
    for (uint64_t round = 0; round < 300; ++round) {
      std::vector<TensorStatistics> statistics;
      std::vector<int64_t> sizes;
      for (size_t i = 0; i < table.tensors.size(); ++i) {
        sizes.push_back(table.tensors[i].size());
        statistics.push_back({.squared_norm = static_cast<double>(Draw(round * 1000 + i, 1000)),
                              .elements = sizes.back()});
      }
      largest = std::max(largest, SumOf(sizes, SelectTensors({.sparsity = sparsity}, statistics)));
    }
    EXPECT_LE(largest, worst);
    EXPECT_GT(largest, worst / 2);
  }
}

TEST(WorstPhases, OfBlocksAreTheBlocks) {
  const TensorTable table = TinyTable();
  const PolicyConfig config{.name = "badam", .total_steps = 10, .embedding_split = 2};
  const std::vector<Directive> phases = WorstPhases(config, table);
  const std::vector<BadamBlock> blocks = BadamBlocks(config, table);
  ASSERT_EQ(phases.size(), blocks.size());
  for (size_t i = 0; i < blocks.size(); ++i) {
    EXPECT_EQ(phases[i].sets[0], blocks[i].set);
    EXPECT_EQ(phases[i].from, static_cast<int64_t>(i));
  }
  EXPECT_EQ(WorstPhases({.name = "full", .total_steps = 10}, table).size(), 1u);
}

}  // namespace
}  // namespace blockstep
