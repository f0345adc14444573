// CPUs of a machine dealt to its ranks by their affinity masks.
#include "launcher/machine/threads.h"

#include <gtest/gtest.h>

namespace blockstep {
namespace {

CpuSet Cpus(int begin, int end) {
  CpuSet set;
  for (int c = begin; c < end; ++c) set.set(c);
  return set;
}

std::vector<int> Deal(const std::vector<CpuSet>& masks,
                      double quota = std::numeric_limits<double>::infinity()) {
  std::vector<int> threads;
  for (size_t r = 0; r < masks.size(); ++r) {
    threads.push_back(ThreadsPerRank(masks, static_cast<int>(r), quota));
  }
  return threads;
}

using Ints = std::vector<int>;

TEST(Threads, EqualMasksAreShared) {
  // A cpuset of 4 CPUs and 4 unbound ranks, whatever the machine has.
  EXPECT_EQ(Deal(std::vector<CpuSet>(4, Cpus(8, 12))), (Ints{1, 1, 1, 1}));
  EXPECT_EQ(Deal(std::vector<CpuSet>(2, Cpus(0, 16))), (Ints{8, 8}));
  EXPECT_EQ(Deal(std::vector<CpuSet>(3, Cpus(0, 16))), (Ints{5, 5, 5}));
  EXPECT_EQ(Deal(std::vector<CpuSet>(6, Cpus(0, 6))), (Ints{1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(Deal(std::vector<CpuSet>(4, Cpus(0, 2))), (Ints{1, 1, 1, 1}));
}

TEST(Threads, DisjointMasksAreTheirRanksOwn) {
  EXPECT_EQ(Deal({Cpus(0, 4), Cpus(4, 8), Cpus(8, 16)}), (Ints{4, 4, 8}));
}

TEST(Threads, OverlapIsShared) {
  // Two ranks per socket, bound to it.
  EXPECT_EQ(Deal({Cpus(0, 8), Cpus(0, 8), Cpus(8, 16), Cpus(8, 16)}), (Ints{4, 4, 4, 4}));
  EXPECT_EQ(Deal({Cpus(0, 8), Cpus(4, 8)}), (Ints{6, 2}));
}

TEST(Threads, QuotaIsAllRanks) {
  EXPECT_EQ(Deal(std::vector<CpuSet>(2, Cpus(0, 16)), 4), (Ints{2, 2}));
  EXPECT_EQ(Deal({Cpus(0, 4), Cpus(4, 8)}, 2), (Ints{1, 1}));
  EXPECT_EQ(Deal({Cpus(0, 16)}, 1.5), (Ints{2}));
  EXPECT_EQ(Deal({Cpus(0, 16)}, 0.1), (Ints{1}));
  EXPECT_EQ(Deal(std::vector<CpuSet>(4, Cpus(0, 16)), 1), (Ints{1, 1, 1, 1}));
}

TEST(Threads, OfThisProcess) {
  const int cpus = UsableCpus();
  EXPECT_GE(cpus, 1);
  EXPECT_EQ(ThreadsPerRankHere(1), cpus);
  EXPECT_EQ(ThreadsPerRankHere(cpus), 1);
  EXPECT_EQ(ThreadsPerRankHere(2 * cpus), 1);
}

}  // namespace
}  // namespace blockstep
