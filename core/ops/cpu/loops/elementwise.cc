#include "core/ops/cpu/loops/vec.h"

namespace blockstep::cpu::BLOCKSTEP_LOOPS_ISA {

void Add(float* dst, const float* src, int64_t n) {
  ForVectors(n, [&](int64_t i, auto io) { io.Put(dst + i, io.Get(dst + i) + io.Get(src + i)); });
}

void Fill(float* dst, float value, int64_t n) {
  const F32x16 x = Set(value);
  ForVectors(n, [&](int64_t i, auto io) { io.Put(dst + i, x); });
}

void ExpRow(const float* x, float* y, int64_t n) {
  ForVectors(n, [&](int64_t i, auto io) { io.Put(y + i, Exp(io.Get(x + i))); });
}

void Scale(float* x, float factor, int64_t n) {
  const F32x16 f = Set(factor);
  ForVectors(n, [&](int64_t i, auto io) { io.Put(x + i, io.Get(x + i) * f); });
}

void RopeHead(float* x, const float* cos, const float* sin, int64_t half, float sign) {
  const F32x16 s = Set(sign);
  ForVectors(half, [&](int64_t i, auto io) {
    const F32x16 a = io.Get(x + i), b = io.Get(x + half + i);
    const F32x16 c = io.Get(cos + i), d = io.Get(sin + i) * s;
    io.Put(x + i, a * c - b * d);
    io.Put(x + half + i, b * c + a * d);
  });
}

void SwiGlu(const float* gate, const float* up, float* out, int64_t n) {
  const F32x16 one = Set(1.0f), zero = Set(0.0f);
  ForVectors(n, [&](int64_t i, auto io) {
    const F32x16 g = io.Get(gate + i);
    io.Put(out + i, g / (one + Exp(zero - g)) * io.Get(up + i));
  });
}

void SwiGluBackward(const float* gate, const float* up, const float* dout, float* dgate, float* dup,
                    int64_t n) {
  const F32x16 one = Set(1.0f), zero = Set(0.0f);
  ForVectors(n, [&](int64_t i, auto io) {
    // Everything is read before anything is written: outputs may be any of the inputs.
    const F32x16 g = io.Get(gate + i), u = io.Get(up + i), d = io.Get(dout + i);
    const F32x16 sigmoid = one / (one + Exp(zero - g));
    const F32x16 silu = g * sigmoid;
    if (dgate != nullptr) io.Put(dgate + i, d * u * (sigmoid + silu * (one - sigmoid)));
    if (dup != nullptr) io.Put(dup + i, d * silu);
  });
}

void AdamW(const AdamWScalars& s, float* p, const float* g, float* m, float* v, int64_t n) {
  const F32x16 grad_scale = Set(s.grad_scale), decay = Set(s.decay), beta1 = Set(s.beta1),
               rest1 = Set(s.one_minus_beta1), beta2 = Set(s.beta2), rest2 = Set(s.one_minus_beta2),
               step = Set(s.step_size), bias2 = Set(s.inv_sqrt_bias2), eps = Set(s.eps);
  ForVectors(n, [&](int64_t i, auto io) {
    const F32x16 grad = io.Get(g + i) * grad_scale;
    const F32x16 m_new = beta1 * io.Get(m + i) + rest1 * grad;
    const F32x16 v_new = beta2 * io.Get(v + i) + rest2 * (grad * grad);
    const F32x16 denominator = Sqrt(v_new) * bias2 + eps;
    io.Put(m + i, m_new);
    io.Put(v + i, v_new);
    io.Put(p + i, io.Get(p + i) * decay - step * m_new / denominator);
  });
}

}  // namespace blockstep::cpu::BLOCKSTEP_LOOPS_ISA
