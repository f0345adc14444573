#include "core/data/slot_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace blockstep {
namespace {

std::vector<int64_t> Epoch(const SlotOrder& order, int64_t epoch) {
  std::vector<int64_t> slots(order.slots());
  for (int64_t i = 0; i < order.slots(); ++i) {
    const SlotRef ref = order.At(epoch * order.slots() + i);
    EXPECT_EQ(ref.epoch, epoch);
    slots[i] = ref.slot;
  }
  return slots;
}

bool IsPermutation(std::vector<int64_t> slots) {
  std::sort(slots.begin(), slots.end());
  for (size_t i = 0; i < slots.size(); ++i) {
    if (slots[i] != static_cast<int64_t>(i)) return false;
  }
  return true;
}

TEST(SlotOrder, SlotsInFile) {
  EXPECT_EQ(SlotsInFile(0, 4), 0);
  EXPECT_EQ(SlotsInFile(4, 4), 0);  // the last target is missing
  EXPECT_EQ(SlotsInFile(5, 4), 1);  // exactly T+1
  EXPECT_EQ(SlotsInFile(8, 4), 1);
  EXPECT_EQ(SlotsInFile(9, 4), 2);  // stride T: the shared token counts once
}

TEST(SlotOrder, ShuffledIsAPermutationOfEverySize) {
  for (int64_t n = 1; n <= 300; ++n) {
    EXPECT_TRUE(IsPermutation(Epoch(SlotOrder(SlotOrderKind::kShuffled, n, 7), n % 5))) << n;
  }
  EXPECT_TRUE(IsPermutation(Epoch(SlotOrder(SlotOrderKind::kShuffled, 70001, 7), 0)));
}

TEST(SlotOrder, FileIsTheIdentityInEveryEpoch) {
  const SlotOrder order(SlotOrderKind::kFile, 10, 7);
  for (int64_t g = 0; g < 35; ++g) EXPECT_EQ(order.At(g), (SlotRef{g / 10, g % 10}));
}

TEST(SlotOrder, DependsOnSeedAndEpochOnly) {
  const SlotOrder order(SlotOrderKind::kShuffled, 100, 7);
  EXPECT_EQ(Epoch(order, 3), Epoch(SlotOrder(SlotOrderKind::kShuffled, 100, 7), 3));
  EXPECT_NE(Epoch(order, 3), Epoch(order, 4));
  EXPECT_NE(Epoch(order, 3), Epoch(SlotOrder(SlotOrderKind::kShuffled, 100, 8), 3));
}

// Every slot is about equally often at every index, also where the Feistel domain has only a few
// bits. Chi-square of n*n cells with (n-1)^2 degrees of freedom, six standard deviations.
TEST(SlotOrder, ShuffleIsUniform) {
  for (const int64_t n : {2, 3, 5, 16, 23}) {
    const int64_t epochs = 4000;
    const SlotOrder order(SlotOrderKind::kShuffled, n, 11);
    std::vector<double> cell(n * n, 0.0);
    for (int64_t e = 0; e < epochs; ++e) {
      for (int64_t i = 0; i < n; ++i) ++cell[i * n + order.At(e * n + i).slot];
    }
    const double expected = static_cast<double>(epochs) / static_cast<double>(n);
    double chi2 = 0;
    for (const double c : cell) chi2 += (c - expected) * (c - expected) / expected;
    const double freedom = static_cast<double>((n - 1) * (n - 1));
    EXPECT_LT(chi2, freedom + 6 * std::sqrt(2 * freedom) + 6) << n;
  }
}

// S does not divide n: steps straddle epochs, yet each epoch sees each slot once.
TEST(SlotOrder, StepsLoseAndRepeatNothingAcrossEpochs) {
  const int64_t n = 37, per_step = 8, epochs = 8;
  const SlotOrder order(SlotOrderKind::kShuffled, n, 3);
  std::vector<std::vector<int>> seen(epochs, std::vector<int>(n, 0));
  for (int64_t step = 0; step * per_step < n * epochs; ++step) {
    const Range range = {step * per_step, (step + 1) * per_step};
    for (int64_t g = range.begin; g < range.end; ++g) {
      const SlotRef ref = order.At(g);
      ++seen[ref.epoch][ref.slot];
    }
  }
  for (int64_t e = 0; e < epochs; ++e) {
    for (int64_t s = 0; s < n; ++s) EXPECT_EQ(seen[e][s], 1) << "epoch " << e << " slot " << s;
  }
}

// A change of the permutation would silently make resumed runs read other data.
TEST(SlotOrder, IsPinned) {
  EXPECT_EQ(Epoch(SlotOrder(SlotOrderKind::kShuffled, 8, 1), 0),
            (std::vector<int64_t>{0, 5, 2, 4, 6, 7, 1, 3}));
}

}  // namespace
}  // namespace blockstep
