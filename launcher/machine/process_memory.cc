#include "launcher/machine/process_memory.h"

#include <malloc.h>

#include <fstream>
#include <string_view>

#include "core/base/check.h"
#include "core/base/str.h"
#include "launcher/machine/cgroup.h"

namespace blockstep {
namespace {

// "VmRSS:   1234 kB" and the like; 0 if there is no such line.
int64_t KibLine(const std::string& path, std::string_view name) {
  std::ifstream file(path);
  for (std::string word; file >> word;) {
    int64_t kib = 0;
    if (word == name && file >> kib) return kib * 1024;
  }
  return 0;
}

}  // namespace

int64_t ResidentBytes() { return KibLine("/proc/self/status", "VmRSS:"); }
int64_t PeakResidentBytes() { return KibLine("/proc/self/status", "VmHWM:"); }

MemoryLimit MachineMemory(const std::string& root) {
  const int64_t machine = KibLine(root + "/proc/meminfo", "MemTotal:");
  const CgroupLimits group = ReadCgroupLimits(root);
  if (group.memory_bytes > 0 && (machine == 0 || group.memory_bytes < machine)) {
    return {group.memory_bytes, Cat("the cgroup ", group.memory_group)};
  }
  return {machine, "this machine"};
}

namespace {

constexpr int kArenas = 2, kLargeBytes = 256 << 10;

}  // namespace

void LimitHeap() {
  CHECK_EQ(mallopt(M_ARENA_MAX, kArenas), 1);
  // Either of the two also ends their adjustment by what was freed.
  CHECK_EQ(mallopt(M_MMAP_THRESHOLD, kLargeBytes), 1);
  CHECK_EQ(mallopt(M_TRIM_THRESHOLD, kLargeBytes), 1);
}

}  // namespace blockstep
