// What of each op's arguments is memory of the device, listed once per op: the guarded backend's
// kernels get their operands through these. An op without a list here does not compile there.
#pragma once

#include "core/ops/kernel_table.h"

namespace blockstep {

// What sizes depend on beyond the arguments.
struct OperandSizes {
  const KernelTable& kernels;
  int threads;
};

// Every pointer of `args`, which is an address that the engine knows, becomes the place where the
// memory lies (GuardedMemory); what is not such an address fails a CHECK that names op and operand.
void ToMemory(EmbeddingForwardArgs& args, const OperandSizes& sizes);
void ToMemory(EmbeddingBackwardArgs& args, const OperandSizes& sizes);
void ToMemory(RmsNormForwardArgs& args, const OperandSizes& sizes);
void ToMemory(RmsNormBackwardArgs& args, const OperandSizes& sizes);
void ToMemory(MatmulArgs& args, const OperandSizes& sizes);
void ToMemory(PackWeightArgs& args, const OperandSizes& sizes);
void ToMemory(RopeArgs& args, const OperandSizes& sizes);
void ToMemory(AttentionForwardArgs& args, const OperandSizes& sizes);
void ToMemory(AttentionBackwardArgs& args, const OperandSizes& sizes);
void ToMemory(SwiGluForwardArgs& args, const OperandSizes& sizes);
void ToMemory(SwiGluBackwardArgs& args, const OperandSizes& sizes);
void ToMemory(CrossEntropyArgs& args, const OperandSizes& sizes);
void ToMemory(AdamWArgs& args, const OperandSizes& sizes);
void ToMemory(AdamNormArgs& args, const OperandSizes& sizes);
void ToMemory(SquaredNormArgs& args, const OperandSizes& sizes);
void ToMemory(AddArgs& args, const OperandSizes& sizes);
void ToMemory(CopyArgs& args, const OperandSizes& sizes);
void ToMemory(FillArgs& args, const OperandSizes& sizes);

}  // namespace blockstep
