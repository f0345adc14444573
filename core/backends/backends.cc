#include "core/backends/backends.h"

#include "core/backends/null_kernels.h"
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
};

}  // namespace

const Backend& CpuBackend() {
  static const Backend backend = {
      .name = "cpu", .device = CpuDeviceFunctions(), .kernels = &kCpuKernels};
  return backend;
}

const Backend& AsyncBackend() {
  static const Backend backend = {
      .name = "async", .device = AsyncDeviceFunctions(), .kernels = &kCpuKernels};
  return backend;
}

const Backend& NullBackend() {
  static const Backend backend = {
      .name = "null", .device = NullDeviceFunctions(), .kernels = &NullKernels()};
  return backend;
}

std::string CpuInstructionSet() { return cpu::Loops().name; }

std::string CpuGemmLibrary() { return cpu::GemmLibrary(); }

absl::StatusOr<const Backend*> FindBackend(std::string_view name) {
  for (const Backend* backend : {&CpuBackend(), &AsyncBackend(), &NullBackend()}) {
    if (name == backend->name) return backend;
  }
  return InvalidArgument("backend: expected one of cpu, async, null, got '", name, "'");
}

}  // namespace blockstep
