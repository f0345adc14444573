// Causal grouped-query attention. Query head h uses key/value head h / (H/G). Queries are tokens
// q_offset .. q_offset + T_q of a slot whose keys are tokens 0 .. kv_len; query at position p sees
// keys [first_key(p), p]. Tiles above the diagonal or below a document's start are never computed,
// and the (T, T) score matrix never exists: forward keeps statistics of each row of scores,
// backward recomputes the scores from them (FlashAttention's scheme, Dao et al. 2022).
#pragma once

#include "core/tensor/tensor_view.h"

namespace blockstep {

struct AttentionShape {
  int64_t slots = 0;   // B
  int64_t q_len = 0;   // T_q
  int64_t kv_len = 0;  // T_kv = q_offset + q_len for training
  int64_t q_offset = 0;
  int64_t heads = 0;     // H
  int64_t kv_heads = 0;  // G, divides H
  int64_t head_dim = 0;  // D
};

struct AttentionForwardArgs {
  AttentionShape shape;
  TensorView q;    // (B*T_q, H*D)
  TensorView k;    // (B*T_kv, G*D)
  TensorView v;    // (B*T_kv, G*D)
  TensorView out;  // (B*T_q, H*D) =
  // = KernelTable::attention_stats_bytes in a layout of the backend's own, for the backward pass of
  // the same shape; null: not stored.
  void* stats = nullptr;
  float scale = 0;  // on q.k, 1/sqrt(D)
  // (B*T_q) first visible key position per query, ascending inside a slot; null: 0 (one document).
  const int32_t* first_key = nullptr;
  void* scratch = nullptr;  // KernelTable::attention_scratch_bytes
};

// Any of dq, dk, dv may be undefined: not needed, not computed. All are =. The order of the sums
// over tokens and heads is the backend's own, and for one backend the same whatever the threads.
struct AttentionBackwardArgs {
  AttentionShape shape;
  TensorView q, k, v, out, dout;  // as in forward; dout (B*T_q, H*D)
  TensorView dq;                  // (B*T_q, H*D)
  TensorView dk, dv;              // (B*T_kv, G*D): sums over the query heads that share it
  const void* stats = nullptr;    // what forward stored
  float scale = 0;
  const int32_t* first_key = nullptr;
  void* scratch = nullptr;
};

}  // namespace blockstep
