#include "optim/policy/badam.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/optim/play.h"
#include "tests/optim/tiny_table.h"

namespace blockstep {
namespace {

// Layers only, so that a block's number is the layer's.
PolicyConfig LayersOnly(BlockOrder order, int64_t block_steps, int64_t total) {
  PolicyConfig config{.name = "badam", .seed = 7, .total_steps = total};
  config.embedding = config.final_norm = TensorPolicy::kFrozen;
  config.order = order;
  config.block_steps = block_steps;
  return config;
}

// The layer that trains at each step; every directive must be exactly that layer's tensors.
std::vector<int> LayerSequence(const PolicyConfig& config, const TensorTable& table) {
  auto policy = MakePolicy(config, table);
  if (!policy.ok()) {
    ADD_FAILURE() << policy.status();
    return {};
  }
  std::vector<int> layers;
  for (const Directive& d : Play(**policy, config, table, 1 + config.lag).directives) {
    std::vector<int> tensors;
    for (const ActiveEntry& e : d.sets[0].entries) tensors.push_back(e.tensor);
    const UnitInfo& unit = table.units[table.tensors[tensors.at(0)].unit];
    EXPECT_EQ(tensors, unit.tensors);
    layers.insert(layers.end(), d.through - d.from + 1, unit.layer);
  }
  return layers;
}

TEST(Badam, DescendingFirstBlockHasAllItsSteps) {
  EXPECT_EQ(LayerSequence(LayersOnly(BlockOrder::kDescending, 2, 9), TinyTable()),
            (std::vector<int>{2, 2, 1, 1, 0, 0, 2, 2, 1}));
}

TEST(Badam, Ascending) {
  EXPECT_EQ(LayerSequence(LayersOnly(BlockOrder::kAscending, 1, 7), TinyTable()),
            (std::vector<int>{0, 1, 2, 0, 1, 2, 0}));
}

TEST(Badam, RandomVisitsEachBlockOncePerCycle) {
  const TensorTable table = TinyTable({.layers = 5});
  const int64_t cycles = 40;
  const std::vector<int> layers =
      LayerSequence(LayersOnly(BlockOrder::kRandom, 3, 15 * cycles), table);
  std::set<std::vector<int>> orders;
  for (int64_t e = 0; e < cycles; ++e) {
    std::vector<int> order;
    for (int i = 0; i < 5; ++i) {
      const auto at = layers.begin() + e * 15 + i * 3;
      EXPECT_TRUE(at[0] == at[1] && at[1] == at[2]);
      order.push_back(at[0]);
    }
    orders.insert(order);
    std::sort(order.begin(), order.end());
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4})) << "cycle " << e;
  }
  EXPECT_GT(orders.size(), 20u);  // 40 draws out of 120 orders: about 34 different ones
  PolicyConfig other = LayersOnly(BlockOrder::kRandom, 3, 15 * cycles);
  other.seed = 8;
  EXPECT_NE(layers, LayerSequence(other, table));
}

TEST(Badam, NeverSwitches) {
  EXPECT_EQ(LayerSequence(LayersOnly(BlockOrder::kAscending, INT64_MAX, 4), TinyTable()),
            (std::vector<int>{0, 0, 0, 0}));
}

TEST(Badam, ALongLagIsCoveredByShortPhases) {
  PolicyConfig config = LayersOnly(BlockOrder::kAscending, 1, 100);
  config.lag = 40;  // more than the phases that are issued ahead anyway
  EXPECT_EQ(LayerSequence(config, TinyTable()).size(), 100u);
}

TEST(Badam, IssuesFewPhasesAhead) {
  PolicyConfig config = LayersOnly(BlockOrder::kRandom, 10, 1'000'000);
  BadamPolicy policy(config, TinyTable());
  EXPECT_LE(policy.Start().size(), 20u);
}

std::vector<std::string> Labels(const PolicyConfig& config, const TensorTable& table) {
  std::vector<std::string> labels;
  for (const BadamBlock& b : BadamBlocks(config, table)) {
    EXPECT_TRUE(Validate(b.set, table).ok()) << Validate(b.set, table);
    labels.push_back(b.label + ": " + std::to_string(b.set.entries.size()));
  }
  return labels;
}

TEST(Badam, Blocks) {
  using Strings = std::vector<std::string>;
  PolicyConfig config{.name = "badam"};
  const TensorTable table = TinyTable({.layers = 1});
  const TensorTable tied = TinyTable({.layers = 1, .tied = true});
  EXPECT_EQ(Labels(config, table), (Strings{"embedding: 1", "layer 0: 9", "head: 2"}));
  EXPECT_EQ(Labels(config, tied), (Strings{"embedding: 2", "layer 0: 9"}));
  config.final_norm = TensorPolicy::kAlways;
  EXPECT_EQ(Labels(config, table), (Strings{"embedding: 2", "layer 0: 10", "head: 2"}));
  config.embedding = TensorPolicy::kFrozen;
  EXPECT_EQ(Labels(config, table), (Strings{"layer 0: 10"}));
  config.final_norm = TensorPolicy::kAsBlocks;
  EXPECT_EQ(Labels(config, table), (Strings{"layer 0: 9", "final norm: 1"}));
  config.embedding = TensorPolicy::kAlways;
  EXPECT_EQ(Labels(config, table), (Strings{"layer 0: 11", "final norm: 3"}));
}

TEST(Badam, SplitsCoverEveryRowOnce) {
  PolicyConfig config{.name = "badam", .embedding_split = 3};
  const TensorTable table = TinyTable({.vocab = 64 * 4 + 40, .layers = 1});
  const std::vector<BadamBlock> blocks = BadamBlocks(config, table);
  ASSERT_EQ(blocks.size(), 7u);
  for (const size_t first : {size_t{0}, size_t{4}}) {  // the embedding's, the head's
    int64_t next = 0;
    for (size_t i = first; i < first + 3; ++i) {
      const ActiveEntry& rows = blocks[i].set.entries.back();
      EXPECT_TRUE(Validate(blocks[i].set, table).ok()) << Validate(blocks[i].set, table);
      EXPECT_EQ(rows.rows.begin, next);
      next = rows.rows.end;
    }
    EXPECT_EQ(next, 64 * 4 + 40);
  }
  EXPECT_EQ(blocks[0].label, "embedding rows [0, 64)");
}

}  // namespace
}  // namespace blockstep
