#include "launcher/machine/threads.h"

#include <algorithm>
#include <cmath>
#include <system_error>
#include <thread>

#include "core/base/status.h"
#include "launcher/machine/cgroup.h"

namespace blockstep {
namespace {

// Not more than there can be, so that it is an int.
int Whole(double cpus) {
  return static_cast<int>(std::ceil(std::min(cpus, static_cast<double>(CPU_SETSIZE))));
}

}  // namespace

CpuSet Affinity() {
  CpuSet cpus;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int c = 0; c < CPU_SETSIZE; ++c) cpus[c] = CPU_ISSET(c, &set) != 0;
    return cpus;
  }
  for (unsigned c = 0; c < std::min<unsigned>(CPU_SETSIZE, std::thread::hardware_concurrency());
       ++c) {
    cpus.set(c);
  }
  return cpus;
}

int UsableCpus() {
  return std::max(1,
                  std::min(static_cast<int>(Affinity().count()), Whole(ReadCgroupLimits().cpus)));
}

int ThreadsPerRank(const std::vector<CpuSet>& masks, int self, double quota_cpus) {
  double cpus = 0;
  for (size_t c = 0; c < CPU_SETSIZE; ++c) {
    if (!masks[self][c]) continue;
    const auto sharers =
        std::count_if(masks.begin(), masks.end(), [c](const CpuSet& mask) { return mask[c]; });
    cpus += 1.0 / static_cast<double>(sharers);
  }
  // Shares of a third must add up to the whole.
  const int own = static_cast<int>(std::floor(cpus + 1e-6));
  return std::max(1, std::min(own, Whole(quota_cpus) / static_cast<int>(masks.size())));
}

int ThreadsPerRankHere(const std::vector<CpuSet>& masks, int self) {
  return ThreadsPerRank(masks, self, ReadCgroupLimits().cpus);
}

int ThreadsPerRankHere(int ranks) {
  return ThreadsPerRankHere(std::vector<CpuSet>(std::max(1, ranks), Affinity()), 0);
}

absl::StatusOr<std::unique_ptr<ThreadPool>> StartThreads(int threads) {
  try {
    return std::make_unique<ThreadPool>(threads);
  } catch (const std::system_error& error) {
    return ResourceExhausted("runtime.threads: cannot start ", threads, " threads: ", error.what(),
                             "; set fewer, or raise the limit on processes (ulimit -u, the ",
                             "cgroup's pids.max) or on memory");
  }
}

}  // namespace blockstep
