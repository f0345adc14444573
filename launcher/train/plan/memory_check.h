// The plan of a run at its start, against the memory there is: refused before anything is touched.
#pragma once

#include <string>

#include "launcher/train/plan/memory_plan.h"

namespace blockstep {

struct MemoryCheckShape {
  int threads = 1;        // of a rank
  int process_ranks = 1;  // ranks that are threads of this process
  int machine_ranks = 1;  // ranks that share this machine's memory
};

struct MemoryPromise {
  int64_t planned = 0;  // bytes of this rank
  std::string text;     // a line for people about this rank
};

// Collective. Plans this rank and compares with runtime.memory_limit_bytes, a process's, or, where
// that is 0, with this process's share of the cgroup's or the machine's memory. RESOURCE_EXHAUSTED
// on every rank if one process's limit would be exceeded: it names the rank, the phase and the
// largest class.
absl::StatusOr<MemoryPromise> CheckMemory(const TrainConfig& config, const LlamaConfig& model,
                                          const MemoryCheckShape& shape, Communicator& group);

// Collective, at the run's end: "memory: ... used of ... planned, process at most ... MiB", of
// every process from rank 0's on.
absl::StatusOr<std::string> MemoryUsed(const MemoryPromise& promise, const Arena& arena,
                                       const MemoryCheckShape& shape, Communicator& group);

}  // namespace blockstep
