#include "core/ops/null_kernels.h"

#include "core/ops/backends.h"
#include "core/ops/cpu/kernels.h"

namespace blockstep {
namespace {

template <typename Args>
void Count(Stream&, const Args& args) {
  const OpCost cost = Cost(args);
  NullCounters().flops += cost.flops;
  NullCounters().bytes += cost.bytes;
}

void CountMatmul(Stream& stream, const MatmulArgs& args) {
  ++NullCounters().matmuls;
  Count(stream, args);
}

template <typename Args>
void Nothing(Stream&, const Args&) {}

}  // namespace

OpCounters& NullCounters() {
  thread_local OpCounters counters;
  return counters;
}

const KernelTable& NullKernels() {
  // Sizes are the CPU's, so that a plan made here is one for that backend.
  static const KernelTable table = {
      .embedding_forward = Nothing,
      .embedding_backward = Nothing,
      .rms_norm_forward = Nothing,
      .rms_norm_backward = Nothing,
      .matmul = CountMatmul,
      .rope = Nothing,
      .attention_forward = Count,
      .attention_backward = Count,
      .swiglu_forward = Nothing,
      .swiglu_backward = Nothing,
      .cross_entropy = Nothing,
      .adamw = Nothing,
      .adam_norm = Nothing,
      .squared_norm = Nothing,
      .add = Nothing,
      .copy = Nothing,
      .fill = Nothing,
      .packed_bytes = cpu::PackedBytes,
      .pack_weight = Nothing,
      .attention_scratch_bytes = cpu::AttentionScratchBytes,
  };
  return table;
}

}  // namespace blockstep
