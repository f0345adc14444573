// The kernels of any host backend on the memory of core/device/guarded_device.h: each op's operands
// are checked and brought to where their memory lies, then the kernel runs on the stream as it
// always does.
#pragma once

#include "core/backends/guarded_operands.h"

namespace blockstep {
namespace internal {

template <const KernelTable& (*kBase)(), typename Args, Op<Args> KernelTable::*kOp>
void GuardedOp(Stream& stream, const Args& args) {
  Args at_memory = args;
  ToMemory(at_memory, {kBase(), stream.pool()->threads()});
  (kBase().*kOp)(stream, at_memory);
}

template <const KernelTable& (*kBase)(), auto kOp, typename Args>
void GuardOp(KernelTable& table, Op<Args> KernelTable::*) {
  if (table.*kOp != nullptr) table.*kOp = GuardedOp<kBase, Args, kOp>;
}

template <const KernelTable& (*kBase)(), auto... kOps>
KernelTable GuardOps() {
  constexpr size_t kSizes = 3;  // functions that only compute sizes: they stay as they are
  static_assert(sizeof(KernelTable) == (sizeof...(kOps) + kSizes) * sizeof(void (*)()),
                "GuardedKernels below does not list every op of KernelTable");
  KernelTable table = kBase();
  (GuardOp<kBase, kOps>(table, kOps), ...);
  return table;
}

}  // namespace internal

// Ops that the base does not have stay null.
template <const KernelTable& (*kBase)()>
const KernelTable& GuardedKernels() {
  using K = KernelTable;
  static const KernelTable table =
      internal::GuardOps<kBase, &K::embedding_forward, &K::embedding_backward, &K::rms_norm_forward,
                         &K::rms_norm_backward, &K::matmul, &K::rope, &K::attention_forward,
                         &K::attention_backward, &K::swiglu_forward, &K::swiglu_backward,
                         &K::cross_entropy, &K::adamw, &K::adam_norm, &K::squared_norm, &K::add,
                         &K::copy, &K::fill, &K::pack_weight>();
  return table;
}

}  // namespace blockstep
