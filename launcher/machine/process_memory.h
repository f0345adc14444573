// What the operating system says about this process's memory.
#pragma once

#include <cstdint>
#include <string>

namespace blockstep {

int64_t ResidentBytes();      // now (VmRSS)
int64_t PeakResidentBytes();  // so far (VmHWM)

struct MemoryLimit {
  int64_t bytes = 0;   // 0: unknown
  std::string source;  // "the cgroup /slurm/job_1", "this machine"
};
// What all processes here may use together: the cgroups' limit (launcher/machine/cgroup.h) or the
// machine's memory. `root` holds proc and sys.
MemoryLimit MachineMemory(const std::string& root = "/");

}  // namespace blockstep
