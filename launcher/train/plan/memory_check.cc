#include "launcher/train/plan/memory_check.h"

#include <algorithm>

#include "core/base/status.h"
#include "dist/agreement.h"
#include "launcher/machine/process_memory.h"
#include "launcher/train/plan/plan_text.h"

namespace blockstep {
namespace {

// Not in the plan: what MPI, gRPC and the matrix library allocate while running (docs/memory.md).
constexpr std::string_view kLibraries = "20 to 40 MiB of libraries";

constexpr size_t kProcessLines = 4;

// Of one process.
MemoryLimit LimitOf(const TrainConfig& config, const MemoryCheckShape& shape) {
  if (config.runtime.memory_limit_bytes > 0) {
    return {config.runtime.memory_limit_bytes, "runtime.memory_limit_bytes"};
  }
  MemoryLimit limit = MachineMemory();
  const int processes = std::max(1, shape.machine_ranks / shape.process_ranks);
  if (processes > 1) limit.source += Cat(" shared by ", processes, " processes");
  limit.bytes /= processes;
  return limit;
}

}  // namespace

absl::StatusOr<MemoryPromise> CheckMemory(const TrainConfig& config, const LlamaConfig& model,
                                          const MemoryCheckShape& shape, Communicator& group) {
  const int64_t program = ResidentBytes();
  const absl::StatusOr<RankPlan> planned =
      PlanRank(config, model,
               {.ranks = group.size(), .threads = shape.threads, .group_size = shape.group_size},
               group.rank());
  RETURN_IF_ERROR(AgreeOnStatus(&group, planned.status(), "memory plan made"));
  const RankPlan& plan = *planned;
  const int64_t mine = plan.total();
  std::vector<int64_t> totals(group.size());
  RETURN_IF_ERROR(group.HostAllGather(&mine, sizeof mine, totals.data(), "memory plan"));
  int64_t process = program + mine;
  if (shape.process_ranks > 1) {  // then all ranks are here
    for (int r = 0; r < group.size(); ++r) process += r == group.rank() ? 0 : totals[r];
  }
  const MemoryLimit limit = LimitOf(config, shape);
  const PhasePlan& worst = plan.phases[plan.worst];
  const ClassBytes& bytes = worst.bytes;
  const int64_t largest = *std::max_element(bytes.begin(), bytes.end());
  absl::Status fits;
  if (limit.bytes > 0 && process > limit.bytes) {
    fits = ResourceExhausted("memory: the process needs ", Mib(process), " MiB, the limit is ",
                             Mib(limit.bytes), " MiB (", limit.source, "); this rank needs ",
                             Mib(mine), " MiB in phase '", worst.label, "', mostly ",
                             LargestClass(plan), " (", Mib(largest),
                             " MiB); run `blockstep estimate` for every class");
  }
  RETURN_IF_ERROR(AgreeOnStatus(&group, fits, "memory plan"));
  MemoryPromise promise{.planned = mine, .arena = plan.arena};
  promise.text =
      Cat("plan: ", Mib(mine), " MiB per rank in phase '", worst.label, "', mostly ",
          LargestClass(plan), " (", Mib(largest), " MiB)\nplan: process >= ", Mib(process), " of ",
          Mib(limit.bytes), " MiB, plus ", kLibraries, "; ", Mib(worst.sent.total()),
          " MiB sent per step");
  return promise;
}

std::string MemoryText(const std::vector<ProcessMemory>& processes) {
  const auto line = [](const std::string& whose, const ProcessMemory& p) {
    return Cat("memory: ", whose, Mib(p.arena), " of ", Mib(p.planned),
               " MiB planned, process peak ", Mib(p.peak), " MiB");
  };
  if (processes.size() == 1) return line("", processes[0]);
  if (processes.size() > kProcessLines) {
    const ProcessMemory& worst = *std::max_element(
        processes.begin(), processes.end(),
        [](const ProcessMemory& a, const ProcessMemory& b) { return a.peak < b.peak; });
    return line(Cat("largest of ", processes.size(), " processes, rank ", worst.rank, ": "), worst);
  }
  std::string text;
  for (const ProcessMemory& process : processes) {
    text += Cat(text.empty() ? "" : "\n", line(Cat("rank ", process.rank, ": "), process));
  }
  return text;
}

absl::StatusOr<std::string> MemoryUsed(const MemoryPromise& promise, const Arena& arena,
                                       const MemoryCheckShape& shape, Communicator& group) {
  const ProcessMemory mine{
      .planned = promise.planned, .arena = arena.use().total_peak, .peak = PeakResidentBytes()};
  std::vector<ProcessMemory> all(group.size());
  RETURN_IF_ERROR(group.HostAllGather(&mine, sizeof mine, all.data(), "memory used"));
  std::vector<ProcessMemory> processes;
  for (int first = 0; first < group.size(); first += shape.process_ranks) {
    ProcessMemory process{.rank = first, .peak = all[first].peak};
    for (int r = first; r < first + shape.process_ranks; ++r) {
      process.planned += all[r].planned;
      process.arena += all[r].arena;
    }
    processes.push_back(process);
  }
  return MemoryText(processes);
}

}  // namespace blockstep
