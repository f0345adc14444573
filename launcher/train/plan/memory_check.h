// Compares a run's memory plan with the memory available, before the run touches anything.
#pragma once

#include <string>
#include <vector>

#include "launcher/train/plan/memory_plan.h"

namespace blockstep {

struct MemoryCheckShape {
  int threads = 1;        // of a rank
  int process_ranks = 1;  // ranks that are threads of this process
  int machine_ranks = 1;  // ranks that share this machine's memory
  int group_size = 0;     // ranks that weights are sharded over; 0: all
};

struct MemoryPromise {
  int64_t planned = 0;  // bytes of this rank
  int64_t arena = 0;    // of them, of its one reservation
  std::string text;     // this rank's plan, to print
};

// Bytes of one process at the end of a run, and the first of its ranks.
struct ProcessMemory {
  int rank = 0;
  int64_t planned = 0, arena = 0, peak = 0;
};

// Collective. Plans this rank and compares the process's total with runtime.memory_limit_bytes or,
// where that is 0, with the process's share of the cgroup's or the machine's memory.
// RESOURCE_EXHAUSTED on every rank if one process exceeds its limit: the error names the rank, the
// phase and the largest class.
absl::StatusOr<MemoryPromise> CheckMemory(const TrainConfig& config, const LlamaConfig& model,
                                          const MemoryCheckShape& shape, Communicator& group);

// "memory: 5.0 of 5.1 MiB planned, process peak 60.2 MiB": a line per process for up to four, else
// one line about the process with the largest peak. No line is longer than 100 columns.
std::string MemoryText(const std::vector<ProcessMemory>& processes);

// Collective, at the end of the run: MemoryText of all processes.
absl::StatusOr<std::string> MemoryUsed(const MemoryPromise& promise, const Arena& arena,
                                       const MemoryCheckShape& shape, Communicator& group);

}  // namespace blockstep
