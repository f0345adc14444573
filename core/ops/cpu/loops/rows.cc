// Loops with a sum or a maximum over a row: four vectors of 16 lanes, then a tree.
#include "core/ops/cpu/loops/vec.h"

namespace blockstep::cpu::BLOCKSTEP_LOOPS_ISA {
namespace {

// Vector i goes to accumulator i % 4, so that additions overlap.
struct FourSums {
  F32x16 sums[4] = {Set(0), Set(0), Set(0), Set(0)};
  BLOCKSTEP_INLINE float Total(const FourSums& s) {
    return SumLanes((s.sums[0] + s.sums[2]) + (s.sums[1] + s.sums[3]));
  }
};

// term(offset, io) is added up over the row; padded lanes must give 0.
template <typename Term>
BLOCKSTEP_INLINE float SumRow(int64_t n, Term&& term) {
  FourSums s;
  int64_t i = 0;
  for (; i + 4 * kWidth <= n; i += 4 * kWidth) {
    for (int j = 0; j < 4; ++j) {
      s.sums[j] = s.sums[j] + term(i + j * kWidth, WholeVector{});
    }
  }
  for (int j = 0; i + kWidth <= n; i += kWidth, ++j) s.sums[j] = s.sums[j] + term(i, WholeVector{});
  if (i < n) s.sums[3] = s.sums[3] + term(i, PartVector{n - i});
  return FourSums::Total(s);
}

}  // namespace

float NormRow(const float* x, const float* delta, float* sum, const float* weight, float* y,
              int64_t n, float eps) {
  const float* s = x;
  if (delta != nullptr && sum != nullptr) {
    ForVectors(n, [&](int64_t i, auto io) { io.Put(sum + i, io.Get(x + i) + io.Get(delta + i)); });
    s = sum;
  } else if (sum != nullptr && sum != x) {
    ForVectors(n, [&](int64_t i, auto io) { io.Put(sum + i, io.Get(x + i)); });
  }
  const bool add = delta != nullptr && sum == nullptr;
  const float squares = SumRow(n, [&](int64_t i, auto io) {
    const F32x16 a = add ? io.Get(s + i) + io.Get(delta + i) : io.Get(s + i);
    return a * a;
  });
  const float rstd = 1.0f / __builtin_sqrtf(squares / static_cast<float>(n) + eps);
  if (y != nullptr) {
    const F32x16 r = Set(rstd);
    ForVectors(n, [&](int64_t i, auto io) {
      const F32x16 a = add ? io.Get(s + i) + io.Get(delta + i) : io.Get(s + i);
      io.Put(y + i, a * r * io.Get(weight + i));
    });
  }
  return rstd;
}

void NormBackwardRow(const float* dy, const float* s, const float* weight, float rstd, float* dx,
                     int64_t n, int add) {
  const float dot = SumRow(
      n, [&](int64_t i, auto io) { return io.Get(dy + i) * io.Get(weight + i) * io.Get(s + i); });
  const F32x16 r = Set(rstd), c = Set(dot * rstd * rstd * rstd / static_cast<float>(n));
  ForVectors(n, [&](int64_t i, auto io) {
    const F32x16 g = io.Get(dy + i) * io.Get(weight + i) * r - io.Get(s + i) * c;
    io.Put(dx + i, add ? io.Get(dx + i) + g : g);
  });
}

void NormWeightGrad(const float* dy, int64_t lddy, const float* s, int64_t lds, const float* rstd,
                    int64_t rows, int64_t cols, float* dweight, int add) {
  F32x16 sums[4] = {Set(0), Set(0), Set(0), Set(0)};
  if (cols == 4 * kWidth) {
    for (int64_t row = 0; row < rows; ++row) {
      const F32x16 r = Set(rstd[row]);
      for (int j = 0; j < 4; ++j) {
        sums[j] =
            sums[j] + Load(dy + row * lddy + j * kWidth) * Load(s + row * lds + j * kWidth) * r;
      }
    }
  } else {
    for (int64_t row = 0; row < rows; ++row) {
      const F32x16 r = Set(rstd[row]);
      ForVectors(cols, [&](int64_t i, auto io) {
        sums[i / kWidth] =
            sums[i / kWidth] + io.Get(dy + row * lddy + i) * io.Get(s + row * lds + i) * r;
      });
    }
  }
  ForVectors(cols, [&](int64_t i, auto io) {
    const F32x16 sum = sums[i / kWidth];
    io.Put(dweight + i, add ? io.Get(dweight + i) + sum : sum);
  });
}

float MaxRow(const float* x, int64_t n) {
  const float kLowest = -__builtin_inff();
  F32x16 m[4] = {Set(kLowest), Set(kLowest), Set(kLowest), Set(kLowest)};
  int64_t i = 0;
  for (; i + 4 * kWidth <= n; i += 4 * kWidth) {
    for (int j = 0; j < 4; ++j) m[j] = Max(m[j], Load(x + i + j * kWidth));
  }
  for (; i + kWidth <= n; i += kWidth) m[0] = Max(m[0], Load(x + i));
  if (i < n) m[1] = Max(m[1], LoadPart(x + i, n - i, kLowest));
  return MaxLanes(Max(Max(m[0], m[1]), Max(m[2], m[3])));
}

float ExpSum(const float* x, float shift, float* store, int64_t n) {
  const F32x16 s = Set(shift);
  const int64_t whole = n / kWidth * kWidth;
  float sum;
  if (store != nullptr) {
    sum = SumRow(whole, [&](int64_t i, auto io) {
      const F32x16 e = Exp(io.Get(x + i) - s);
      io.Put(store + i, e);
      return e;
    });
  } else {
    sum = SumRow(whole, [&](int64_t i, auto io) { return Exp(io.Get(x + i) - s); });
  }
  if (whole < n) {
    // Padded lanes are -inf, whose exponential is 0.
    const F32x16 e = Exp(LoadPart(x + whole, n - whole, -__builtin_inff()) - s);
    if (store != nullptr) StorePart(store + whole, e, n - whole);
    sum += SumLanes(e);
  }
  return sum;
}

namespace {

// Sum of term(0) + ... + term(n - 1) in double, over lanes in one fixed order.
template <typename Term>
inline double SumDouble(int64_t n, Term&& term) {
  double lanes[kWidth] = {};
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) {
    for (int j = 0; j < kWidth; ++j) lanes[j] += term(i + j);
  }
  for (int j = 0; i < n; ++i, ++j) lanes[j] += term(i);
  for (int w = kWidth / 2; w > 0; w /= 2) {
    for (int j = 0; j < w; ++j) lanes[j] += lanes[j + w];
  }
  return lanes[0];
}

}  // namespace

double SquaredQuantum(const float* x, int64_t n) {
  return SumDouble(n, [x](int64_t i) {
    const double value = x[i];
    return value * value;
  });
}

double AdamQuantum(const AdamNormScalars& s, const float* m, const float* v, int64_t n) {
  return SumDouble(n, [s, m, v](int64_t i) {
    const double m_hat = m[i] * s.m_scale;
    return m_hat * m_hat / (v[i] * s.v_scale + s.eps);
  });
}

}  // namespace blockstep::cpu::BLOCKSTEP_LOOPS_ISA
