// Truncated backward gives the rows that full backward gives, bit for bit, and recomputation,
// threads, backend and kept buffers do not show.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "core/base/philox.h"
#include "core/tensor/sharding.h"
#include "tests/model/model_rig.h"
#include "tests/sanitized.h"

namespace blockstep::testing {
namespace {

struct Case {
  const char* name;
  bool tied;
  Recompute recompute;
  const char* backend;
};

// The rows of `full` (gradients of every tensor) that `set` asks for.
void ExpectRowsOf(const Gradients& full, const Gradients& part, const ActiveSet& set,
                  const TensorTable& table) {
  ASSERT_EQ(part.dw.size(), set.entries.size());
  for (size_t i = 0; i < set.entries.size(); ++i) {
    const ActiveEntry& e = set.entries[i];
    const TensorInfo& t = table.tensors[e.tensor];
    ASSERT_EQ(static_cast<int64_t>(part.dw[i].size()), e.rows.size() * t.cols);
    const float* wanted = full.dw[e.tensor].data() + e.rows.begin * t.cols;
    EXPECT_EQ(std::memcmp(part.dw[i].data(), wanted, part.dw[i].size() * sizeof(float)), 0)
        << t.name << " rows [" << e.rows.begin << ", " << e.rows.end << ") of set\n"
        << set.Text();
  }
  EXPECT_EQ(part.loss, full.loss);
}

// Whole tensors and row ranges, each tensor with chance 1/4.
ActiveSet RandomSet(const TensorTable& table, uint64_t seed) {
  ActiveSet set;
  for (size_t i = 0; i < table.tensors.size(); ++i) {
    const PhiloxBlock draw = Draw(seed, RandomUse::kTest, 7, i);
    if (draw[0] % 4 != 0) continue;
    const int64_t rows = table.tensors[i].rows, grain = EntryRows(table.tensors[i].cols);
    const int64_t tiles = DivCeil(rows, grain);
    if (draw[1] % 2 == 0 || tiles < 2) {
      set.entries.push_back(WholeTensor(table, static_cast<int>(i)));
      continue;
    }
    // Two entries of one tensor with, for some draws, a gap between them.
    const int64_t split = 1 + draw[2] % (tiles - 1), gap = draw[3] % 2;
    set.entries.push_back({.tensor = static_cast<int>(i), .rows = {0, split * grain}});
    const int64_t begin = (split + gap) * grain;
    if (begin < rows) {
      set.entries.push_back({.tensor = static_cast<int>(i), .rows = {begin, rows}});
    }
  }
  CHECK_OK(Validate(set, table));
  return set;
}

class TruncatedTest : public ::testing::TestWithParam<Case> {
 protected:
  TruncatedTest()
      : rig_(GetParam().tied ? TinyTiedConfig() : TinyConfig(),
             {.backend = GetParam().backend, .recompute = GetParam().recompute, .threads = 2}) {
    rig_.FillRandom(3);
    rig_.RandomBatch(4);
    full_ = rig_.Run(Everything(rig_.table()), 0.25f);
  }
  void ExpectTruncated(const ActiveSet& set) {
    ExpectRowsOf(full_, rig_.Run(set, 0.25f), set, rig_.table());
  }
  ModelRig rig_;
  Gradients full_;
};

TEST_P(TruncatedTest, EverySingleTensor) {
  for (size_t i = 0; i < rig_.table().tensors.size(); i += kSanitized ? 3 : 1) {
    ExpectTruncated(Only(rig_.table(), static_cast<int>(i)));
  }
}

TEST_P(TruncatedTest, EverySingleRowTile) {
  for (size_t i = 0; i < rig_.table().tensors.size(); i += kSanitized ? 5 : 1) {
    const int64_t rows = rig_.table().tensors[i].rows;
    for (int64_t begin = 0; begin < rows; begin += kRowTile) {
      ExpectTruncated({.entries = {{.tensor = static_cast<int>(i),
                                    .rows = {begin, std::min(begin + kRowTile, rows)}}}});
    }
  }
}

TEST_P(TruncatedTest, RandomSets) {
  for (uint64_t seed = 0; seed < (kSanitized ? 5 : 40); ++seed)
    ExpectTruncated(RandomSet(rig_.table(), seed));
}

TEST_P(TruncatedTest, NothingActive) {
  const Gradients none = rig_.Run({});
  EXPECT_EQ(none.loss, full_.loss);
  EXPECT_TRUE(none.dw.empty());
}

// The reference that all cases share: plain CPU, one thread, everything kept.
TEST_P(TruncatedTest, EqualsPlain) {
  ModelRig plain(GetParam().tied ? TinyTiedConfig() : TinyConfig(), {});
  plain.FillRandom(3);
  plain.RandomBatch(4);
  const ActiveSet all = Everything(plain.table());
  ExpectRowsOf(plain.Run(all, 0.25f), full_, all, plain.table());
  EXPECT_EQ(rig_.Loss(), full_.loss);
}

INSTANTIATE_TEST_SUITE_P(Cases, TruncatedTest,
                         ::testing::Values(Case{"Plain", false, Recompute::kNone, "cpu"},
                                           Case{"Tied", true, Recompute::kNone, "cpu"},
                                           Case{"Recompute", false, Recompute::kLayer, "cpu"},
                                           Case{"TiedRecompute", true, Recompute::kLayer, "cpu"},
                                           Case{"Guarded", false, Recompute::kNone, "guarded"},
                                           Case{"GuardedTiedRecompute", true, Recompute::kLayer,
                                                "guarded"}),
                         [](const auto& info) { return std::string(info.param.name); });

// Slots are independent of their neighbours: one slot alone has the losses it has beside another.
TEST(Slots, FewerThanReserved) {
  ModelRig rig(TinyConfig(), {});
  rig.FillRandom(3);
  rig.RandomBatch(4);
  const ActiveSet all = Everything(rig.table());
  const Gradients both = rig.Run(all), one = rig.Run(all, 1.0f, 1);
  const int64_t tokens = rig.options.shape.tokens;
  EXPECT_TRUE(std::equal(one.loss.begin(), one.loss.begin() + tokens, both.loss.begin()));
  ModelRig alone(TinyConfig(), {.shape = {.slots = 1, .tokens = tokens}});
  alone.FillRandom(3);
  alone.SetBatch({rig.inputs.begin(), rig.inputs.begin() + tokens},
                 {rig.targets.begin(), rig.targets.begin() + tokens});
  EXPECT_EQ(alone.Run(all).dw, one.dw);
}

// An empty micro-step makes the same calls in the same order as a full one.
TEST(Slots, NoneMakesTheSameCalls) {
  for (const bool tied : {false, true}) {
    ModelRig rig(tied ? TinyTiedConfig() : TinyConfig(), {.recompute = Recompute::kLayer});
    rig.FillRandom(3);
    rig.RandomBatch(4);
    const ActiveSet set = RandomSet(rig.table(), 11);
    rig.Run(set);
    std::vector<std::string> calls = rig.units->log;
    const std::vector<int> order = rig.done_order;
    rig.Run(set, 1.0f, 0);
    EXPECT_EQ(rig.done_order, order);
    std::replace(calls.begin(), calls.end(), Cat("gather rows ", rig.n()),
                 std::string("gather rows 0"));
    EXPECT_EQ(rig.units->log, calls);
  }
}

// A document's tokens do not see the one before: their losses are those of the document alone, up
// to RoPE, which is relative.
TEST(Documents, DoNotSeeEachOther) {
  LlamaConfig config = TinyConfig();
  ModelRig rig(config, {.shape = {.slots = 1, .tokens = 40}});
  rig.FillRandom(3);
  rig.RandomBatch(4);
  std::vector<int32_t> first_key(40, 0);
  std::fill(first_key.begin() + 17, first_key.end(), 17);
  const std::vector<float> together = rig.Loss();
  rig.SetDocuments(first_key);
  const std::vector<float> masked = rig.Loss();
  ModelRig alone(config, {.shape = {.slots = 1, .tokens = 23}});
  alone.FillRandom(3);
  alone.SetBatch({rig.inputs.begin() + 17, rig.inputs.begin() + 40},
                 {rig.targets.begin() + 17, rig.targets.begin() + 40});
  const std::vector<float> second = alone.Loss();
  double apart = 0;
  for (int64_t i = 0; i < 23; ++i) {
    EXPECT_NEAR(masked[17 + i], second[i], 2e-5);
    apart = std::max<double>(apart, std::abs(together[17 + i] - second[i]));
  }
  EXPECT_GT(apart, 1e-2);
}

}  // namespace
}  // namespace blockstep::testing
