// What the operating system says about this process's memory.
#pragma once

#include <cstdint>
#include <string>

namespace blockstep {

int64_t ResidentBytes();      // now (VmRSS)
int64_t PeakResidentBytes();  // so far (VmHWM)

struct MemoryLimit {
  int64_t bytes = 0;   // 0: unknown
  std::string source;  // "the cgroup", "this machine"
};
// What all processes here may use together: the cgroup's limit (v1 or v2) or the machine's memory.
MemoryLimit MachineMemory();

}  // namespace blockstep
