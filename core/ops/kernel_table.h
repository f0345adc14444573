// Every op of the model as one plain struct of function pointers. All have one form,
//   void op(Stream& stream, const OpArgs& args)
// and return once the work is ordered on the stream; views must stay valid until an event recorded
// later has been reached. Every pointer of an Args is memory of the backend's device, or null where
// the op can do without; the Args itself is copied. Contracts stand beside each Args in
// core/ops/<op>.h. Shapes are checked with CHECK: a wrong shape is our own bug.
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
  // base kernels: always present
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

  // packed kernels (optional; null: not supported, callers pass plain weights)
  int64_t (*packed_bytes)(const PackWeightArgs& args) = nullptr;
  Op<PackWeightArgs> pack_weight = nullptr;

  // Bytes of scratch that the attention kernels want per call, and of what forward keeps for
  // backward: never fewer for more slots.
  int64_t (*attention_scratch_bytes)(const AttentionShape& shape, int threads) = nullptr;
  int64_t (*attention_stats_bytes)(const AttentionShape& shape) = nullptr;
};

// What an op costs, by its Args alone; the null backend counts these, benchmarks divide by them.
// flops: of matmul and attention, 0 of ops whose time goes by the bytes they touch. bytes: operands
// read and written, each once.
struct OpCost {
  int64_t flops = 0;
  int64_t bytes = 0;
  friend auto operator<=>(const OpCost&, const OpCost&) = default;
};
OpCost Cost(const EmbeddingForwardArgs& args);
OpCost Cost(const EmbeddingBackwardArgs& args);
OpCost Cost(const RmsNormForwardArgs& args);
OpCost Cost(const RmsNormBackwardArgs& args);
OpCost Cost(const MatmulArgs& args);
OpCost Cost(const RopeArgs& args);
OpCost Cost(const AttentionForwardArgs& args);
OpCost Cost(const AttentionBackwardArgs& args);
OpCost Cost(const SwiGluForwardArgs& args);
OpCost Cost(const SwiGluBackwardArgs& args);
OpCost Cost(const CrossEntropyArgs& args);
OpCost Cost(const AdamWArgs& args);
OpCost Cost(const AdamNormArgs& args);
OpCost Cost(const SquaredNormArgs& args);
OpCost Cost(const AddArgs& args);
OpCost Cost(const CopyArgs& args);
OpCost Cost(const FillArgs& args);

}  // namespace blockstep
