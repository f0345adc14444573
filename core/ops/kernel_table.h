// Every op of the model as one plain struct of function pointers. All have one form,
//   void op(Stream& stream, const OpArgs& args)
// and return once the work is ordered on the stream; views must stay valid until an event recorded
// later has been reached. Contracts stand beside each Args in core/ops/<op>.h. Shapes are checked
// with CHECK: a wrong shape is our own bug.
#pragma once

#include <cstdint>

#include "core/device/stream.h"
#include "core/ops/attention.h"
#include "core/ops/cross_entropy.h"
#include "core/ops/elementwise.h"
#include "core/ops/embedding.h"
#include "core/ops/matmul.h"
#include "core/ops/norm.h"
#include "core/ops/optimizer.h"
#include "core/ops/reduce.h"
#include "core/ops/rope.h"
#include "core/ops/swiglu.h"

namespace blockstep {

template <typename Args>
using Op = void (*)(Stream& stream, const Args& args);

struct KernelTable {
  // base group: always present
  Op<EmbeddingForwardArgs> embedding_forward = nullptr;
  Op<EmbeddingBackwardArgs> embedding_backward = nullptr;
  Op<RmsNormForwardArgs> rms_norm_forward = nullptr;
  Op<RmsNormBackwardArgs> rms_norm_backward = nullptr;
  Op<MatmulArgs> matmul = nullptr;
  Op<RopeArgs> rope = nullptr;
  Op<AttentionForwardArgs> attention_forward = nullptr;
  Op<AttentionBackwardArgs> attention_backward = nullptr;
  Op<SwiGluForwardArgs> swiglu_forward = nullptr;
  Op<SwiGluBackwardArgs> swiglu_backward = nullptr;
  Op<CrossEntropyArgs> cross_entropy = nullptr;
  Op<AdamWArgs> adamw = nullptr;
  Op<AdamNormArgs> adam_norm = nullptr;
  Op<SquaredNormArgs> squared_norm = nullptr;
  Op<AddArgs> add = nullptr;
  Op<CopyArgs> copy = nullptr;
  Op<FillArgs> fill = nullptr;

  // packed group (optional; null: not supported, callers pass plain weights)
  int64_t (*packed_bytes)(const PackWeightArgs& args) = nullptr;
  Op<PackWeightArgs> pack_weight = nullptr;

  // Bytes of scratch the attention kernels want per call, for the plan.
  int64_t (*attention_scratch_bytes)(const AttentionShape& shape, int threads) = nullptr;
};

// What an op costs, by its Args alone; the null backend counts these, benchmarks divide by them.
struct OpCost {
  int64_t flops = 0;
  int64_t bytes = 0;
};
OpCost Cost(const MatmulArgs& args);
OpCost Cost(const AttentionForwardArgs& args);
OpCost Cost(const AttentionBackwardArgs& args);

}  // namespace blockstep
