// The strongest claim: 100 steps give one SHA-256 of the weights and one block sequence, whatever
// the number of ranks, sharded or pinned, for every policy.
#include <gtest/gtest.h>

#include <set>

#include "core/base/str.h"
#include "tests/e2e/engine_harness.h"
#include "tests/sanitized.h"

namespace blockstep::testing {
namespace {

constexpr int64_t kSteps = kSanitized ? 12 : 100, kDelayedSteps = kSanitized ? 4 : 12;

// "blockllm adam" and "blockllm paper" read the norms of Adam's direction; "badam split" has blocks
// of rows of embedding and head.
PolicyConfig PolicyNamed(const std::string& name) {
  PolicyConfig config{.name = name.substr(0, name.find(' ')), .seed = 11};
  if (name == "blockllm adam") config.score = BlockLlmScore::kAdam;
  if (name == "blockllm paper") config.mode = BlockLlmMode::kPaper;
  if (name == "badam split") config.embedding_split = 2;
  config.block_steps = 7;
  config.sparsity = 0.6;
  config.patience = 5;
  config.probes_per_step = 2;
  return config;
}

// Wide enough for two blocks of rows, the second one smaller.
LlamaConfig ModelFor(const std::string& policy, bool tied) {
  LlamaConfig model = TinyLlama(tied);
  if (policy == "badam split") model.vocab = 160;
  return model;
}

class OneHash : public ::testing::TestWithParam<std::tuple<std::string, bool>> {};

TEST_P(OneHash, WeightsAndBlocksDoNotDependOnRanks) {
  const auto& [policy, tied] = GetParam();
  RunSpec spec{
      .policy = PolicyNamed(policy), .steps = kSteps, .slots = 6, .model = ModelFor(policy, tied)};
  const RunOutcome one = RunTraining(spec);
  EXPECT_LT(one.losses.back(), one.losses.front());
  if (policy != "full" && !kSanitized) {  // there it is too short
    const std::set<std::string> different(one.blocks.begin() + 1, one.blocks.end());  // no sweep
    EXPECT_GT(different.size(), 2u) << "what learns hardly changed";
  }
  for (const int ranks : {2, 3, 4}) {
    for (const bool pinned : {false, true}) {
      SCOPED_TRACE(Cat(policy, ", ", ranks, " ranks, ", pinned ? "pinned" : "sharded"));
      spec.ranks = ranks;
      spec.pinned.assign(pinned ? 4 : 0, 1);
      const RunOutcome many = RunTraining(spec);
      EXPECT_EQ(many.weights_hash, one.weights_hash);
      EXPECT_EQ(many.blocks, one.blocks);
      EXPECT_EQ(many.losses, one.losses);
      EXPECT_EQ(many.adam_norms, one.adam_norms);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Policies, OneHash,
                         ::testing::Combine(::testing::Values("full", "badam", "blockllm"),
                                            ::testing::Bool()));
INSTANTIATE_TEST_SUITE_P(AdamNorms, OneHash,
                         ::testing::Values(std::tuple("blockllm adam", false),
                                           std::tuple("blockllm paper", true)));

INSTANTIATE_TEST_SUITE_P(RowBlocks, OneHash, ::testing::Values(std::tuple("badam split", false)));

TEST(OneHashRowBlocks, RowsOfTheEmbeddingLearnByThemselves) {
  const std::string policy = "badam split";
  const LlamaConfig model = ModelFor(policy, false);
  const RunOutcome run =
      RunTraining({.ranks = 3, .policy = PolicyNamed(policy), .steps = kSteps, .model = model});
  std::set<std::string> learned;  // tensor/elements of each step, without the phase
  for (const std::string& block : run.blocks) learned.insert(block.substr(block.find(' ') + 1));
  EXPECT_TRUE(learned.contains(Cat("0/", 64 * model.hidden)));
  EXPECT_TRUE(kSanitized || learned.contains(Cat("0/", 96 * model.hidden)));
}

// placement.mode budget: some units are pinned, others gathered.
TEST(OneHashPlacement, PinsOfSomeUnitsDoNotShow) {
  RunSpec spec{.policy = PolicyNamed("blockllm"), .steps = kSanitized ? kDelayedSteps : 40};
  const RunOutcome one = RunTraining(spec);
  for (const int ranks : {2, 3}) {
    for (const std::vector<char>& pins :
         {std::vector<char>{0, 0, 1, 1}, {1, 0, 1, 0}, {0, 1, 0, 1}}) {
      spec.ranks = ranks;
      spec.pinned = pins;
      SCOPED_TRACE(::testing::PrintToString(pins));
      EXPECT_EQ(RunTraining(spec).weights_hash, one.weights_hash);
    }
  }
}

// Each step has a number of slots of its own; phases go on over the change.
TEST(OneHashShape, StepsOfDifferentSizesDoNotShowTheRanks) {
  RunSpec spec{.policy = PolicyNamed("blockllm"), .steps = kDelayedSteps, .slots = 9};
  for (int64_t step = 0; step < spec.steps; ++step) spec.slots_by_step.push_back(4 + step % 6);
  const RunOutcome one = RunTraining(spec);
  for (const int ranks : {2, 3}) {
    SCOPED_TRACE(ranks);
    spec.ranks = ranks;
    const RunOutcome several = RunTraining(spec);
    EXPECT_EQ(several.weights_hash, one.weights_hash);
    EXPECT_EQ(several.blocks, one.blocks);
  }
  spec.slots_by_step.clear();
  EXPECT_NE(RunTraining(spec).weights_hash, one.weights_hash);
}

// Weights sharded inside groups, gradients reduced across them.
TEST(OneHashGroups, GroupsDoNotShow) {
  for (const std::string policy : {"full", "badam", "blockllm paper"}) {
    SCOPED_TRACE(policy);
    RunSpec spec{.policy = PolicyNamed(policy), .steps = kDelayedSteps, .slots = 7};
    const RunOutcome one = RunTraining(spec);
    for (const auto& [ranks, group_size] : {std::pair{4, 2}, {4, 1}, {6, 3}, {3, 1}}) {
      SCOPED_TRACE(Cat(ranks, " ranks, groups of ", group_size));
      spec.ranks = ranks;
      spec.group_size = group_size;
      EXPECT_EQ(RunTraining(spec).weights_hash, one.weights_hash);
    }
  }
}

// `fast` adds in another order, no more.
TEST(OneHashGroups, FastGroupsTrainWhatOneGroupTrains) {
  for (const GradAccumulation accumulation :
       {GradAccumulation::kLocal, GradAccumulation::kSharded}) {
    RunSpec spec{.ranks = 4,
                 .policy = PolicyNamed("badam"),
                 .steps = 8,
                 .slots = 8,
                 .numerics = Numerics::kFast,
                 .accumulation = accumulation};
    const RunOutcome one = RunTraining(spec);
    spec.group_size = 2;
    const RunOutcome groups = RunTraining(spec);
    for (size_t i = 0; i < one.losses.size(); ++i) {
      EXPECT_NEAR(groups.losses[i], one.losses[i], 1e-4 * one.losses[i]) << "step " << i;
    }
    EXPECT_EQ(groups.blocks, one.blocks);
  }
}

// Threads of a rank take tiles, they do not make them.
TEST(OneHashThreads, ThreadsDoNotShow) {
  RunSpec spec{.policy = PolicyNamed("blockllm"), .steps = kDelayedSteps};
  const RunOutcome one = RunTraining(spec);
  spec.threads = 3;
  EXPECT_EQ(RunTraining(spec).weights_hash, one.weights_hash);
}

TEST(OneHashRecompute, RecomputeDoesNotShow) {
  RunSpec spec{.policy = PolicyNamed("blockllm"), .steps = kDelayedSteps};
  const RunOutcome one = RunTraining(spec);
  spec.recompute = Recompute::kLayer;
  EXPECT_EQ(RunTraining(spec).weights_hash, one.weights_hash);
}

// The guarded backend delays every kernel and every message at random and poisons released buffers:
// a missing wait anywhere shows as another hash (or as a race under ThreadSanitizer).
TEST(OneHashGuarded, RandomDelaysDoNotShow) {
  for (const std::string policy : {"full", "badam", "blockllm", "blockllm paper"}) {
    SCOPED_TRACE(policy);
    RunSpec spec{.policy = PolicyNamed(policy), .steps = kDelayedSteps, .slots = 4};
    spec.policy.block_steps = 3;
    const RunOutcome one = RunTraining(spec);
    spec.backend = "guarded";
    spec.comm_delay_us = 200;
    for (const int ranks : {1, 3}) {
      for (const bool pinned : {false, true}) {
        SCOPED_TRACE(Cat(ranks, " ranks, ", pinned ? "pinned" : "sharded"));
        spec.ranks = ranks;
        spec.pinned.assign(pinned ? 4 : 0, 1);
        EXPECT_EQ(RunTraining(spec).weights_hash, one.weights_hash);
      }
    }
  }
}

}  // namespace
}  // namespace blockstep::testing
