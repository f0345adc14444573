// What the control groups of this process leave it. A group is bound by its own limit and by that
// of each group above it, so a limit below the mount's root (a Slurm job, a systemd slice) and one
// that only a container's root shows both count.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

namespace blockstep {

struct CgroupLimits {
  double cpus = std::numeric_limits<double>::infinity();  // CPU time per time, of the whole group
  int64_t memory_bytes = 0;                               // 0: no limit
  std::string memory_group;                               // the one that sets it: "/slurm/job_1"
};

// Of version 2 (cpu.max, memory.max) and 1 (cpu.cfs_quota_us, memory.limit_in_bytes), where they
// are usually mounted; the smallest wins. `root` holds proc/self/cgroup and sys/fs/cgroup; groups
// that it does not show have no limit.
CgroupLimits ReadCgroupLimits(const std::string& root = "/");

}  // namespace blockstep
