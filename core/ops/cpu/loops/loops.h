// Row loops of the CPU kernels: plain functions on raw pointers, compiled once per instruction set
// (baseline, x86-64-v3, x86-64-v4) and chosen at run time. Everything here computes on vectors of
// 16 lanes in one fixed order, whatever the vector width, so a result depends on neither threads
// nor the position of an element in a vector; instruction sets differ only where one of them lacks
// FMA. No standard library template may be used in loops/*.cc: the linker keeps one copy of it, and
// that copy could be one that this machine cannot run.
#pragma once

#include <cstdint>

namespace blockstep::cpu {

struct AdamWScalars {
  float grad_scale, decay, beta1, one_minus_beta1, beta2, one_minus_beta2;
  float step_size;       // lr / (1 - beta1^t)
  float inv_sqrt_bias2;  // 1 / sqrt(1 - beta2^t)
  float eps;
};

struct AdamNormScalars {
  double m_scale, v_scale;  // 1 / (1 - beta^t)
  double eps;
};

// One (slot, key/value head). Pointers are at the first row of the slot and the first column of the
// head (or the query heads of one key/value head); strides in elements. Scratch:
// AttentionScratchFloats, 64-byte aligned.
struct AttentionTask {
  int64_t q_len, kv_len, q_offset, q_per_kv, head_dim;  // q_per_kv: query heads per key/value head
  const float *q, *k, *v;
  int64_t ldq, ldk, ldv;
  float* out;         // forward =, backward read
  const float* dout;  // backward
  int64_t ldo, lddo;
  float* lse;  // forward = (or null), backward read
  int64_t ldl;
  float *dq, *dk, *dv;  // backward, any may be null
  int64_t lddq, lddk, lddv;
  float scale;
  const int32_t* first_key;  // (q_len) or null
  float* scratch;
};
inline constexpr int64_t kAttentionTile = 64;  // queries and keys per tile
int64_t AttentionScratchFloats(int64_t kv_len, int64_t head_dim);

struct CpuLoops {
  const char* name;
  void (*add)(float* dst, const float* src, int64_t n);
  void (*fill)(float* dst, float value, int64_t n);
  void (*exp)(const float* x, float* y, int64_t n);  // for tests of its error
  // s = x + delta (delta may be null), y = s * rstd * weight; returns rstd. sum and y may be null.
  float (*norm_row)(const float* x, const float* delta, float* sum, const float* weight, float* y,
                    int64_t n, float eps);
  // dx = or += the gradient of s.
  void (*norm_backward_row)(const float* dy, const float* s, const float* weight, float rstd,
                            float* dx, int64_t n, int add);
  // dweight[0..cols) = or += sum over rows of dy * s * rstd, rows ascending. cols <= 64.
  void (*norm_weight_grad)(const float* dy, int64_t lddy, const float* s, int64_t lds,
                           const float* rstd, int64_t rows, int64_t cols, float* dweight, int add);
  // (x[j], x[j+half]) rotated by (cos[j], sign * sin[j]).
  void (*rope_head)(float* x, const float* cos, const float* sin, int64_t half, float sign);
  void (*swiglu)(const float* gate, const float* up, float* out, int64_t n);
  void (*swiglu_backward)(const float* gate, const float* up, const float* dout, float* dgate,
                          float* dup, int64_t n);
  float (*max)(const float* x, int64_t n);
  // Sum of exp(x - shift); `store` (may be x or null) receives the terms.
  float (*exp_sum)(const float* x, float shift, float* store, int64_t n);
  void (*scale)(float* x, float factor, int64_t n);
  void (*adamw)(const AdamWScalars& s, float* p, const float* g, float* m, float* v, int64_t n);
  // Sum of squares of n <= 256 elements in double.
  double (*squared_quantum)(const float* x, int64_t n);
  // Sum of (m m_scale)^2 / (v v_scale + eps) of n <= 256 elements in double.
  double (*adam_quantum)(const AdamNormScalars& s, const float* m, const float* v, int64_t n);
  void (*attention_forward)(const AttentionTask& task);
  void (*attention_backward)(const AttentionTask& task);
};

// The best set for this machine.
const CpuLoops& Loops();
// All sets this machine can run, baseline first.
struct LoopSets {
  const CpuLoops* sets[3];
  int count;
};
LoopSets AvailableLoops();

namespace baseline {
extern const CpuLoops kLoops;
}
namespace v3 {
extern const CpuLoops kLoops;
}
namespace v4 {
extern const CpuLoops kLoops;
}

}  // namespace blockstep::cpu
