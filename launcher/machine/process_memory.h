// What the operating system says about this process's memory, and how much of it that was freed
// the C library's malloc keeps for itself.
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

// Once, before other threads start. By default glibc has up to eight arenas per core, and each of
// the threads that come and go here (gRPC's, MPI's, those that write saves) fills another one with
// what it has freed; and a freed buffer of megabytes raises the size from which blocks go back to
// the system, so that later ones stay. Nothing is in use then, yet a rank grows for hours. From
// here on there are two arenas, blocks of 256 KiB go back at once, and so does more than 256 KiB at
// an arena's end. Nothing inside a step allocates from malloc what is that large.
void LimitHeap();

}  // namespace blockstep
