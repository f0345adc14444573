#include "launcher/trainer/plan/process_memory.h"

#include <fstream>
#include <string_view>

namespace blockstep {
namespace {

// "VmRSS:   1234 kB" and the like; 0 if there is no such line.
int64_t KibLine(const char* path, std::string_view name) {
  std::ifstream file(path);
  for (std::string word; file >> word;) {
    int64_t kib = 0;
    if (word == name && file >> kib) return kib * 1024;
  }
  return 0;
}

int64_t Number(const char* path) {
  int64_t bytes = 0;
  std::ifstream(path) >> bytes;  // "max" reads as none
  return bytes;
}

}  // namespace

int64_t ResidentBytes() { return KibLine("/proc/self/status", "VmRSS:"); }
int64_t PeakResidentBytes() { return KibLine("/proc/self/status", "VmHWM:"); }

MemoryLimit MachineMemory() {
  MemoryLimit limit{KibLine("/proc/meminfo", "MemTotal:"), "this machine"};
  for (const char* path :
       {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    const int64_t bytes = Number(path);
    if (bytes > 0 && (limit.bytes == 0 || bytes < limit.bytes)) limit = {bytes, "the cgroup"};
  }
  return limit;
}

}  // namespace blockstep
