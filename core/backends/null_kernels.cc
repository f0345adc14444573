#include "core/backends/null_kernels.h"

#include "core/backends/backends.h"
#include "core/ops/cpu/kernels.h"

namespace blockstep {
namespace {

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

}  // namespace

OpCounters& NullCounters() {
  thread_local OpCounters counters;
  return counters;
}

const KernelTable& NullKernels() {
  // Sizes are the CPU's, so that a plan made here is one for that backend.
  static const KernelTable table = {
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
  };
  return table;
}

}  // namespace blockstep
