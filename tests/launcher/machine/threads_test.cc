// CPUs of a machine dealt to its ranks by their affinity masks.
#include "launcher/machine/threads.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sanitized.h"

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

// A limit on memory stands for one on threads, which root does not have: stacks do not fit.
TEST(StartThreads, SaysHowManyTheSystemDoesNotGive) {
  ASSERT_EQ((*StartThreads(3))->threads(), 3);
  if (::blockstep::testing::kSanitized) GTEST_SKIP() << "a sanitizer maps more than any limit";
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);  // threads that nobody ends would be waited for
    const rlimit limit{.rlim_cur = 1 << 28, .rlim_max = 1 << 28};
    if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(2);
    const auto pool = StartThreads(1000);
    const bool named =
        !pool.ok() && absl::IsResourceExhausted(pool.status()) &&
        pool.status().message().find("runtime.threads: cannot start 1000 threads: ") !=
            absl::string_view::npos;
    _exit(named ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "ended by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace blockstep
