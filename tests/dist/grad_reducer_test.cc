#include "dist/grad_reducer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "dist/null/null_communicator.h"
#include "tests/dist/grad_fixture.h"
#include "tests/dist/ranks.h"

namespace blockstep {
namespace {

constexpr float kEps = 0x1p-24f;

// Layers 0, 1 and 3, part of the embedding, and the head with a probe.
ActiveSet SomeActive(const TensorTable& table) {
  ActiveSet set;
  set.entries.push_back({.tensor = 0, .rows = {64, 200}});
  for (const int unit : {1, 2, 4}) {
    for (const int t : table.units[unit].tensors) set.entries.push_back(WholeTensor(table, t));
  }
  set.entries.push_back(WholeTensor(table, table.units.back().tensors[0], Role::kProbe));
  if (!table.tied) set.entries.push_back(WholeTensor(table, table.units.back().tensors[1]));
  return set;
}

// The tree's definition, for one element.
float TreeSum(int tensor, int64_t first, int64_t begin, int64_t width, int64_t slots,
              int64_t element) {
  if (width == 1) return SlotGradient(tensor, first + begin, element);
  const float left = TreeSum(tensor, first, begin, width / 2, slots, element);
  if (begin + width / 2 >= slots) return left;
  return left + TreeSum(tensor, first, begin + width / 2, width / 2, slots, element);
}

// Compares what every rank owns after two steps with `same(entry, element, value, first_slot)`, and
// that together they own each row once.
template <typename Same>
void ExpectReduced(const TensorTable& table, const GradCase& c, const Backend& backend, int ranks,
                   int delay_us, Same same) {
  const ActiveSet set = SomeActive(table);
  std::vector<std::vector<int64_t>> owned(ranks, std::vector<int64_t>(set.entries.size()));
  RunRanks(ranks, {.max_delay_us = delay_us}, [&](Communicator& group) {
    GradRank rank(table, c, backend, group);
    for (const int64_t first : {int64_t{0}, c.slots}) {
      if (first == 0) rank.Begin(set);
      rank.Step(first);
      const auto reduced = rank.Reduced();
      for (size_t e = 0; e < set.entries.size(); ++e) {
        const ActiveEntry& entry = set.entries[e];
        const Range rows = rank.reducer().ReducedRows(static_cast<int>(e));
        const int64_t cols = table.tensors[entry.tensor].cols;
        ASSERT_EQ(static_cast<int64_t>(reduced[e].size()), rows.size() * cols);
        owned[group.rank()][e] = rows.size();
        int64_t wrong = 0;
        for (int64_t i = 0; i < rows.size() * cols; ++i) {
          wrong += !same(entry.tensor, rows.begin * cols + i, reduced[e][i], first);
        }
        EXPECT_EQ(wrong, 0) << table.tensors[entry.tensor].name << ", rank " << group.rank()
                            << " of " << ranks << ", " << c.slots << " slots from " << first;
      }
    }
  });
  for (size_t e = 0; e < set.entries.size(); ++e) {
    int64_t rows = 0;
    for (int r = 0; r < ranks; ++r) rows += owned[r][e];
    EXPECT_EQ(rows, set.entries[e].rows.size());
  }
}

class SlotExact : public testing::TestWithParam<std::tuple<int, int64_t>> {};

TEST_P(SlotExact, HasTheBitsOfTheTree) {
  const auto [ranks, slots] = GetParam();
  const TensorTable table = TinyTable(Tie::kNo);
  int64_t width = 1;
  while (width < slots) width *= 2;
  ExpectReduced(table, {.numerics = Numerics::kSlotExact, .slots = slots}, PlainCpu(), ranks, 0,
                [=, slots = slots](int tensor, int64_t element, float value, int64_t first) {
                  return value == TreeSum(tensor, first, 0, width, slots, element);
                });
}
// 1 slot on 3 ranks and 3 on 5: some ranks have none.
INSTANTIATE_TEST_SUITE_P(GradReducer, SlotExact,
                         testing::Combine(testing::Range(1, 6),
                                          testing::Values(1, 2, 3, 4, 5, 7, 8, 11)));

class Fast : public testing::TestWithParam<std::tuple<int, GradAccumulation, int64_t, int64_t>> {};

TEST_P(Fast, SumsWithinTheBound) {
  const auto [ranks, accumulation, slots, micro_slots] = GetParam();
  const GradCase c{.accumulation = accumulation, .slots = slots, .micro_slots = micro_slots};
  // n terms added in any order: |error| <= (n - 1) eps sum |term|, to first order.
  const auto same = [slots = slots](int tensor, int64_t element, float value, int64_t first) {
    double sum = 0, magnitude = 0;
    for (int64_t s = 0; s < slots; ++s) {
      const double g = SlotGradient(tensor, first + s, element);
      sum += g;
      magnitude += std::abs(g);
    }
    return std::abs(value - sum) <= 1.01 * static_cast<double>(slots) * kEps * magnitude;
  };
  ExpectReduced(TinyTable(Tie::kNo), c, PlainCpu(), ranks, 0, same);
  ExpectReduced(TinyTable(Tie::kYes), c, PlainCpu(), ranks, 0, same);
}
INSTANTIATE_TEST_SUITE_P(GradReducer, Fast,
                         testing::Combine(testing::Range(1, 6),
                                          testing::Values(GradAccumulation::kLocal,
                                                          GradAccumulation::kSharded),
                                          testing::Values(3, 8), testing::Values(1, 2)));

// The same under random delays on both streams: order by events alone.
TEST(GradReducerDelayed, IsRightUnderDelays) {
  const TensorTable table = TinyTable(Tie::kNo);
  const auto tree = [](int tensor, int64_t element, float value, int64_t first) {
    return value == TreeSum(tensor, first, 0, 8, 6, element);
  };
  const auto near = [](int tensor, int64_t element, float value, int64_t first) {
    double sum = 0, magnitude = 0;
    for (int64_t s = 0; s < 6; ++s) {
      const double g = SlotGradient(tensor, first + s, element);
      sum += g;
      magnitude += std::abs(g);
    }
    return std::abs(value - sum) <= 7.0 * kEps * magnitude;
  };
  for (const int delay : {0, 400}) {  // compute is the slow one, then comm
    for (int ranks = 2; ranks <= 4; ++ranks) {
      ExpectReduced(table, {.numerics = Numerics::kSlotExact, .slots = 6}, PlainDelayed(), ranks,
                    delay, tree);
      ExpectReduced(table, {.slots = 6}, PlainDelayed(), ranks, delay, near);
      ExpectReduced(table, {.accumulation = GradAccumulation::kSharded, .slots = 6}, PlainDelayed(),
                    ranks, delay, near);
    }
  }
}

TEST(GradReducerErrors, AreNamed) {
  const TensorTable table = TinyTable(Tie::kNo);
  const Backend backend = PlainNull();
  NullCommunicator group(2, 1);
  const auto exact_sharded = GradReducer::Create({.table = &table,
                                                  .backend = &backend,
                                                  .data = &group,
                                                  .numerics = Numerics::kSlotExact,
                                                  .accumulation = GradAccumulation::kSharded},
                                                 SpanOf({}, 2, 1));
  EXPECT_EQ(exact_sharded.status().code(), absl::StatusCode::kInvalidArgument);
  GradRank rank(table, {}, backend, group);
  Arena arena = Arena::Reserve(backend, 1 << 20).value();
  const ActiveSet fused{{WholeTensor(table, 1, Role::kFused)}};
  const absl::Status status = rank.reducer().BeginPhase(fused, arena);
  EXPECT_NE(status.ToString().find("layer0.norm"), std::string::npos) << status;
}

TEST(GradReducerMisuse, IsFatal) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TensorTable table = TinyTable(Tie::kNo);
  NullCommunicator group(2, 0);
  GradRank rank(table, {.slots = 4}, PlainNull(), group);
  rank.Begin(SomeActive(table));
  EXPECT_DEATH(rank.reducer().Target(0), "done");
  rank.reducer().BeginMicroStep(0, 1);
  EXPECT_DEATH((void)rank.reducer().Finish(rank.compute()), "last");
  ASSERT_TRUE(rank.reducer().Done(0, rank.compute()).ok());
  EXPECT_DEATH((void)rank.reducer().Done(0, rank.compute()), "done");
  EXPECT_DEATH(rank.reducer().BeginMicroStep(1, 1), "all_of");
}

}  // namespace
}  // namespace blockstep
