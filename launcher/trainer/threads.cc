#include "launcher/trainer/threads.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <thread>

namespace blockstep {
namespace {

constexpr double kNoQuota = 1e9;

double CgroupQuota() {
  std::string quota, period;
  if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2 >> quota >> period) {
    if (quota == "max") return kNoQuota;
  } else {
    std::ifstream v1_quota("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
    std::ifstream v1_period("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    if (!(v1_quota >> quota) || !(v1_period >> period)) return kNoQuota;
  }
  const double q = std::atof(quota.c_str()), p = std::atof(period.c_str());
  return q > 0 && p > 0 ? q / p : kNoQuota;
}

int AffinityCpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) {
    return static_cast<int>(std::thread::hardware_concurrency());
  }
  return CPU_COUNT(&set);
}

}  // namespace

int UsableCpus() {
  return std::max(1, std::min(AffinityCpus(), static_cast<int>(std::ceil(CgroupQuota()))));
}

int ThreadsPerRank(int local_ranks) {
  const int cpus = UsableCpus();
  // A launcher that binds ranks leaves each fewer CPUs than the machine has; those are its own.
  const bool bound = cpus < static_cast<int>(std::thread::hardware_concurrency()) &&
                     AffinityCpus() < static_cast<int>(std::thread::hardware_concurrency());
  return bound ? cpus : std::max(1, cpus / std::max(1, local_ranks));
}

}  // namespace blockstep
