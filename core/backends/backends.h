// The backends built into every binary. Each call gives the same static object.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "core/device/backend.h"
#include "core/ops/kernel_table.h"

namespace blockstep {

const Backend& CpuBackend();
// CPU kernels and copies on FIFO threads with random delays, on memory that the host cannot touch:
// finds missing waits and host accesses without a GPU.
const Backend& GuardedBackend();
// No arithmetic, no memory; ops add to NullCounters() of the calling thread.
const Backend& NullBackend();

enum class OpKind : uint8_t { kMatmul, kAttention, kOther };
struct OpCounters {
  int64_t matmuls = 0;
  int64_t flops = 0;                                   // matmul and attention
  int64_t bytes = 0;                                   // operands read and written by them
  std::map<std::pair<OpKind, OpCost>, int64_t> calls;  // of all ops, by what each costs
};
OpCounters& NullCounters();

// What decides the bits of CPU results: ranks where both are equal compute equal bits.
std::string CpuInstructionSet();  // "v4": the widest vector instructions that kernels use here
std::string CpuGemmLibrary();     // "onednn 2.6.3, instructions 1fef"

// "cpu", "guarded" or "null"; an error names what there is.
absl::StatusOr<const Backend*> FindBackend(std::string_view name);

}  // namespace blockstep
