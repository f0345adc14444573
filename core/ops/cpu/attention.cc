#include "core/ops/attention.h"

#include "core/ops/cpu/grid.h"
#include "core/ops/cpu/kernels.h"
#include "core/ops/cpu/loops/loops.h"

namespace blockstep::cpu {
namespace {

int64_t ScratchFloatsPerThread(const AttentionShape& s) {
  return RoundUp(AttentionScratchFloats(s.kv_len, s.head_dim), 64);
}

void CheckAttention(const AttentionShape& s, const TensorView& q, const TensorView& k,
                    const TensorView& v, const TensorView& out, const void* scratch) {
  CHECK_GT(s.kv_heads, 0);
  CHECK_EQ(s.heads % s.kv_heads, 0);
  CHECK_LE(s.q_offset + s.q_len, s.kv_len);
  CheckShape(q, s.slots * s.q_len, s.heads * s.head_dim);
  CheckShape(k, s.slots * s.kv_len, s.kv_heads * s.head_dim);
  CheckShape(v, s.slots * s.kv_len, s.kv_heads * s.head_dim);
  CheckShape(out, s.slots * s.q_len, s.heads * s.head_dim);
  CHECK(scratch != nullptr || s.slots == 0);
}

// The log-sum-exp of a row's scores: (B*T_q, H) fp32.
float* StatsOf(const AttentionForwardArgs& a) { return static_cast<float*>(a.stats); }
// The loops take both directions in one struct; backward only reads.
float* StatsOf(const AttentionBackwardArgs& a) {
  return static_cast<float*>(const_cast<void*>(a.stats));
}

// What both directions share; a view that is not defined stays null.
template <typename Args>
AttentionTask TaskOf(const Args& a, int64_t slot, int64_t kv_head, int worker) {
  const AttentionShape& s = a.shape;
  const int64_t q_per_kv = s.heads / s.kv_heads, q_row = slot * s.q_len, kv_row = slot * s.kv_len;
  const int64_t q_col = kv_head * q_per_kv * s.head_dim, kv_col = kv_head * s.head_dim;
  AttentionTask t = {.q_len = s.q_len,
                     .kv_len = s.kv_len,
                     .q_offset = s.q_offset,
                     .q_per_kv = q_per_kv,
                     .head_dim = s.head_dim};
  t.q = a.q.f32(q_row) + q_col;
  t.k = a.k.f32(kv_row) + kv_col;
  t.v = a.v.f32(kv_row) + kv_col;
  t.out = a.out.f32(q_row) + q_col;
  if (a.stats != nullptr) t.lse = StatsOf(a) + q_row * s.heads + kv_head * q_per_kv;
  t.ldq = a.q.ld;
  t.ldk = a.k.ld;
  t.ldv = a.v.ld;
  t.ldo = a.out.ld;
  t.ldl = s.heads;
  t.scale = a.scale;
  t.first_key = a.first_key != nullptr ? a.first_key + q_row : nullptr;
  t.scratch = static_cast<float*>(a.scratch) + worker * ScratchFloatsPerThread(s);
  return t;
}

}  // namespace

int64_t AttentionScratchBytes(const AttentionShape& shape, int threads) {
  return threads * ScratchFloatsPerThread(shape) * static_cast<int64_t>(sizeof(float));
}

int64_t AttentionStatsBytes(const AttentionShape& shape) {
  return shape.slots * shape.q_len * shape.heads * static_cast<int64_t>(sizeof(float));
}

void AttentionForward(Stream& stream, const AttentionForwardArgs& args) {
  CheckAttention(args.shape, args.q, args.k, args.v, args.out, args.scratch);
  OnHost(stream).Run([args, pool = stream.pool()] {
    const int64_t kv_heads = args.shape.kv_heads;
    pool->ParallelForWorker(args.shape.slots * kv_heads, [&](int64_t item, int worker) {
      Loops().attention_forward(TaskOf(args, item / kv_heads, item % kv_heads, worker));
    });
  });
}

void AttentionBackward(Stream& stream, const AttentionBackwardArgs& args) {
  const AttentionShape& s = args.shape;
  CheckAttention(s, args.q, args.k, args.v, args.out, args.scratch);
  CHECK(args.stats != nullptr || s.slots == 0);
  CheckShape(args.dout, s.slots * s.q_len, s.heads * s.head_dim);
  if (args.dq.defined()) CheckShape(args.dq, s.slots * s.q_len, s.heads * s.head_dim);
  for (const TensorView& v : {args.dk, args.dv}) {
    if (v.defined()) CheckShape(v, s.slots * s.kv_len, s.kv_heads * s.head_dim);
  }
  OnHost(stream).Run([args, pool = stream.pool()] {
    const AttentionShape& s = args.shape;
    pool->ParallelForWorker(s.slots * s.kv_heads, [&](int64_t item, int worker) {
      const int64_t slot = item / s.kv_heads, kv_head = item % s.kv_heads;
      const int64_t q_row = slot * s.q_len, kv_row = slot * s.kv_len;
      const int64_t q_col = kv_head * (s.heads / s.kv_heads) * s.head_dim;
      AttentionTask t = TaskOf(args, slot, kv_head, worker);
      t.dout = args.dout.f32(q_row) + q_col;
      t.lddo = args.dout.ld;
      if (args.dq.defined()) t.dq = args.dq.f32(q_row) + q_col;
      if (args.dk.defined()) t.dk = args.dk.f32(kv_row) + kv_head * s.head_dim;
      if (args.dv.defined()) t.dv = args.dv.f32(kv_row) + kv_head * s.head_dim;
      t.lddq = args.dq.ld;
      t.lddk = args.dk.ld;
      t.lddv = args.dv.ld;
      Loops().attention_backward(t);
    });
  });
}

}  // namespace blockstep::cpu
