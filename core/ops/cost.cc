#include "core/ops/kernel_table.h"

namespace blockstep {
namespace {

// (query, key) pairs that causality lets through; documents only make them fewer, and which is
// known to the device alone.
int64_t Pairs(const AttentionShape& s) {
  return s.slots * s.heads * (s.q_len * s.q_offset + s.q_len * (s.q_len + 1) / 2);
}

int64_t BytesOf(std::initializer_list<TensorView> views) {
  int64_t bytes = 0;
  for (const TensorView& v : views) bytes += v.defined() ? v.bytes() : 0;
  return bytes;
}

// Bytes of what is written, and read before if it is added to.
int64_t Written(const TensorView& v, Accumulate accumulate) {
  return BytesOf({v}) * (accumulate == Accumulate::kAdd ? 2 : 1);
}

}  // namespace

OpCost Cost(const EmbeddingForwardArgs& a) { return {.bytes = 2 * BytesOf({a.out})}; }

OpCost Cost(const EmbeddingBackwardArgs& a) {
  const int64_t zeroed = a.accumulate == Accumulate::kAssign ? BytesOf({a.dtable}) : 0;
  return {.bytes = zeroed + 3 * BytesOf({a.dout})};
}

OpCost Cost(const RmsNormForwardArgs& a) { return {.bytes = BytesOf({a.x, a.delta, a.sum, a.y})}; }

OpCost Cost(const RmsNormBackwardArgs& a) {
  return {.bytes = BytesOf({a.dy, a.s}) + Written(a.dx, a.dx_accumulate)};
}

OpCost Cost(const RopeArgs& a) { return {.bytes = 2 * BytesOf({a.x})}; }

OpCost Cost(const SwiGluForwardArgs& a) { return {.bytes = BytesOf({a.gate, a.up, a.out})}; }

OpCost Cost(const SwiGluBackwardArgs& a) {
  return {.bytes = BytesOf({a.gate, a.up, a.dout, a.dgate, a.dup})};
}

OpCost Cost(const CrossEntropyArgs& a) {
  return {.bytes = BytesOf({a.logits}) * (a.grad == CrossEntropyGrad::kInPlace ? 2 : 1)};
}

OpCost Cost(const AdamWArgs& a) {
  return {.bytes = BytesOf({a.grad}) + 2 * BytesOf({a.param, a.m, a.v})};
}

OpCost Cost(const AdamNormArgs& a) { return {.bytes = BytesOf({a.m, a.v})}; }
OpCost Cost(const SquaredNormArgs& a) { return {.bytes = BytesOf({a.x})}; }
OpCost Cost(const AddArgs& a) { return {.bytes = BytesOf({a.src}) + 2 * BytesOf({a.dst})}; }
OpCost Cost(const CopyArgs& a) { return {.bytes = BytesOf({a.src, a.dst})}; }
OpCost Cost(const FillArgs& a) { return {.bytes = BytesOf({a.dst})}; }

OpCost Cost(const MatmulArgs& a) {
  const int64_t k = a.trans_a == Transpose::kYes ? a.a.rows : a.a.cols;
  return {.flops = 2 * a.d.rows * a.d.cols * k,
          .bytes = BytesOf({a.a, a.b}) + Written(a.d, a.accumulate)};
}

OpCost Cost(const AttentionForwardArgs& a) {
  // q.k and p.v
  return {.flops = 4 * Pairs(a.shape) * a.shape.head_dim, .bytes = BytesOf({a.q, a.k, a.v, a.out})};
}

OpCost Cost(const AttentionBackwardArgs& a) {
  // Scores again, dout.v unless dv alone is wanted, then one product per gradient.
  const int64_t scores = a.dq.defined() || a.dk.defined() ? 2 : 1;
  const int64_t products =
      scores + (a.dq.defined() ? 1 : 0) + (a.dk.defined() ? 1 : 0) + (a.dv.defined() ? 1 : 0);
  return {.flops = 2 * products * Pairs(a.shape) * a.shape.head_dim,
          .bytes = BytesOf({a.q, a.k, a.v, a.out, a.dout, a.dq, a.dk, a.dv})};
}

}  // namespace blockstep
