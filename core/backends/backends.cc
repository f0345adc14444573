#include "core/backends/backends.h"

#include "core/backends/guarded_kernels.h"
#include "core/base/status.h"
#include "core/ops/cpu/kernels.h"
#include "core/ops/cpu/loops/loops.h"
#include "core/ops/cpu/tile_gemm.h"

namespace blockstep {
namespace {

const KernelTable kCpuKernels = {
    .embedding_forward = cpu::EmbeddingForward,
    .embedding_backward = cpu::EmbeddingBackward,
    .rms_norm_forward = cpu::RmsNormForward,
    .rms_norm_backward = cpu::RmsNormBackward,
    .matmul = cpu::Matmul,
    .rope = cpu::Rope,
    .attention_forward = cpu::AttentionForward,
    .attention_backward = cpu::AttentionBackward,
    .swiglu_forward = cpu::SwiGluForward,
    .swiglu_backward = cpu::SwiGluBackward,
    .cross_entropy = cpu::CrossEntropy,
    .adamw = cpu::AdamW,
    .adam_norm = cpu::AdamNorm,
    .squared_norm = cpu::SquaredNorm,
    .add = cpu::Add,
    .copy = cpu::Copy,
    .fill = cpu::Fill,
    .packed_bytes = cpu::PackedBytes,
    .pack_weight = cpu::PackWeight,
    .attention_scratch_bytes = cpu::AttentionScratchBytes,
    .attention_stats_bytes = cpu::AttentionStatsBytes,
};

const KernelTable& CpuKernels() { return kCpuKernels; }

// Ops of the null backend: no memory is touched, costs are counted.
template <OpKind kind = OpKind::kOther, typename Args>
void Count(Stream&, const Args& args) {
  OpCounters& counters = NullCounters();
  const OpCost cost = Cost(args);
  ++counters.calls[{kind, cost}];
  if constexpr (kind == OpKind::kOther) return;
  counters.matmuls += kind == OpKind::kMatmul ? 1 : 0;
  counters.flops += cost.flops;
  counters.bytes += cost.bytes;
}

void NoPacking(Stream&, const PackWeightArgs&) {}

// Sizes are the CPU's, so that a plan made here is one for that backend.
const KernelTable kNullKernels = {
    .embedding_forward = Count<OpKind::kOther>,
    .embedding_backward = Count<OpKind::kOther>,
    .rms_norm_forward = Count<OpKind::kOther>,
    .rms_norm_backward = Count<OpKind::kOther>,
    .matmul = Count<OpKind::kMatmul>,
    .rope = Count<OpKind::kOther>,
    .attention_forward = Count<OpKind::kAttention>,
    .attention_backward = Count<OpKind::kAttention>,
    .swiglu_forward = Count<OpKind::kOther>,
    .swiglu_backward = Count<OpKind::kOther>,
    .cross_entropy = Count<OpKind::kOther>,
    .adamw = Count<OpKind::kOther>,
    .adam_norm = Count<OpKind::kOther>,
    .squared_norm = Count<OpKind::kOther>,
    .add = Count<OpKind::kOther>,
    .copy = Count<OpKind::kOther>,
    .fill = Count<OpKind::kOther>,
    .packed_bytes = cpu::PackedBytes,
    .pack_weight = NoPacking,
    .attention_scratch_bytes = cpu::AttentionScratchBytes,
    .attention_stats_bytes = cpu::AttentionStatsBytes,
};

}  // namespace

OpCounters& NullCounters() {
  thread_local OpCounters counters;
  return counters;
}

const Backend& CpuBackend() {
  static const Backend backend = {
      .name = "cpu", .device = CpuDeviceFunctions(), .kernels = &kCpuKernels};
  return backend;
}

const Backend& GuardedBackend() {
  static const Backend backend = {.name = "guarded",
                                  .device = GuardedDeviceFunctions(),
                                  .kernels = &GuardedKernels<CpuKernels>()};
  return backend;
}

const Backend& NullBackend() {
  static const Backend backend = {
      .name = "null", .device = NullDeviceFunctions(), .kernels = &kNullKernels};
  return backend;
}

std::string CpuInstructionSet() { return cpu::Loops().name; }

std::string CpuGemmLibrary() { return cpu::GemmLibrary(); }

absl::StatusOr<const Backend*> FindBackend(std::string_view name) {
  for (const Backend* backend : {&CpuBackend(), &GuardedBackend(), &NullBackend()}) {
    if (name == backend->name) return backend;
  }
  return InvalidArgument("runtime.backend: expected cpu, guarded or null, got '", name,
                         "', which is not in this build");
}

}  // namespace blockstep
