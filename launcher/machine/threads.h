// How many threads a rank may use: what affinity and the cgroups' CPU quota leave, dealt to the
// ranks of this machine.
#pragma once

#include <sched.h>

#include <bitset>
#include <limits>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/thread_pool.h"

namespace blockstep {

using CpuSet = std::bitset<CPU_SETSIZE>;

// The calling thread's affinity mask.
CpuSet Affinity();

// CPUs of Affinity(), at most the cgroups' quota rounded up; at least 1.
int UsableCpus();

// Of rank `self` among ranks of one machine with these masks: each CPU is shared by the ranks whose
// mask has it, so ranks with one mask divide it and bound ranks have theirs; the quota is all
// ranks'. At least 1.
int ThreadsPerRank(const std::vector<CpuSet>& masks, int self,
                   double quota_cpus = std::numeric_limits<double>::infinity());

// With this process's cgroups as quota.
int ThreadsPerRankHere(const std::vector<CpuSet>& masks, int self);
// Of ranks that all have this process's mask.
int ThreadsPerRankHere(int ranks);

// A pool of so many threads. RESOURCE_EXHAUSTED where the system does not start them.
absl::StatusOr<std::unique_ptr<ThreadPool>> StartThreads(int threads);

}  // namespace blockstep
