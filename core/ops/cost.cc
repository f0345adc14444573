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

}  // namespace

OpCost Cost(const MatmulArgs& a) {
  const int64_t k = a.trans_a == Transpose::kYes ? a.a.rows : a.a.cols;
  OpCost cost = {.flops = 2 * a.d.rows * a.d.cols * k, .bytes = BytesOf({a.a, a.b, a.d})};
  if (a.accumulate == Accumulate::kAdd) cost.bytes += a.d.bytes();
  return cost;
}

OpCost Cost(const AttentionForwardArgs& a) {
  // q.k and p.v
  return {.flops = 4 * Pairs(a.shape) * a.shape.head_dim,
          .bytes = BytesOf({a.q, a.k, a.v, a.out, a.lse})};
}

OpCost Cost(const AttentionBackwardArgs& a) {
  // Scores again, dout.v unless dv alone is wanted, then one product per gradient.
  const int64_t scores = a.dq.defined() || a.dk.defined() ? 2 : 1;
  const int64_t products =
      scores + (a.dq.defined() ? 1 : 0) + (a.dk.defined() ? 1 : 0) + (a.dv.defined() ? 1 : 0);
  return {.flops = 2 * products * Pairs(a.shape) * a.shape.head_dim,
          .bytes = BytesOf({a.q, a.k, a.v, a.out, a.lse, a.dout, a.dq, a.dk, a.dv})};
}

}  // namespace blockstep
