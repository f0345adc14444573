// Every op once more, in double and as the formula reads. Letters as in core/tensor/tensor_view.h.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "core/ops/attention.h"

namespace blockstep::reference {

struct Mat {
  int64_t rows = 0, cols = 0;
  std::vector<double> v;
  Mat() = default;
  Mat(int64_t r, int64_t c, double fill = 0) : rows(r), cols(c), v(r * c, fill) {}
  double& operator()(int64_t r, int64_t c) { return v[r * cols + c]; }
  double operator()(int64_t r, int64_t c) const { return v[r * cols + c]; }
};

inline Mat Map(Mat a, const std::function<double(double)>& f) {
  for (double& x : a.v) x = f(x);
  return a;
}
inline Mat Abs(const Mat& a) {
  return Map(a, [](double x) { return std::fabs(x); });
}
inline double MaxAbs(const Mat& a) {
  double max = 0;
  for (double x : a.v) max = std::max(max, std::fabs(x));
  return max;
}
inline double Dot(const Mat& a, const Mat& b) {
  double sum = 0;
  for (size_t i = 0; i < a.v.size(); ++i) sum += a.v[i] * b.v[i];
  return sum;
}

inline Mat Transposed(const Mat& a) {
  Mat t(a.cols, a.rows);
  for (int64_t r = 0; r < a.rows; ++r) {
    for (int64_t c = 0; c < a.cols; ++c) t(c, r) = a(r, c);
  }
  return t;
}

inline Mat Matmul(const Mat& a, const Mat& b) {
  Mat d(a.rows, b.cols);
  for (int64_t i = 0; i < a.rows; ++i) {
    for (int64_t k = 0; k < a.cols; ++k) {
      for (int64_t j = 0; j < b.cols; ++j) d(i, j) += a(i, k) * b(k, j);
    }
  }
  return d;
}

struct Norm {
  Mat y, rstd;  // (n, C), (1, n)
};
inline Norm RmsNorm(const Mat& s, const Mat& weight, double eps) {
  Norm out = {Mat(s.rows, s.cols), Mat(1, s.rows)};
  for (int64_t i = 0; i < s.rows; ++i) {
    double squares = 0;
    for (int64_t c = 0; c < s.cols; ++c) squares += s(i, c) * s(i, c);
    out.rstd(0, i) = 1 / std::sqrt(squares / static_cast<double>(s.cols) + eps);
    for (int64_t c = 0; c < s.cols; ++c) out.y(i, c) = s(i, c) * out.rstd(0, i) * weight(0, c);
  }
  return out;
}

struct NormGrad {
  Mat dx, dweight;
};
inline NormGrad RmsNormBackward(const Mat& dy, const Mat& s, const Mat& weight, double eps) {
  const Norm f = RmsNorm(s, weight, eps);
  NormGrad g = {Mat(s.rows, s.cols), Mat(1, s.cols)};
  for (int64_t i = 0; i < s.rows; ++i) {
    const double r = f.rstd(0, i);
    double dot = 0;
    for (int64_t c = 0; c < s.cols; ++c) dot += dy(i, c) * weight(0, c) * s(i, c);
    for (int64_t c = 0; c < s.cols; ++c) {
      g.dx(i, c) =
          r * dy(i, c) * weight(0, c) - s(i, c) * dot * r * r * r / static_cast<double>(s.cols);
      g.dweight(0, c) += dy(i, c) * s(i, c) * r;
    }
  }
  return g;
}

// sign 1: forward, -1: backward.
inline Mat Rope(Mat x, int64_t heads, const Mat& cos, const Mat& sin, int64_t tokens,
                int64_t offset, double sign) {
  const int64_t d = x.cols / heads, h = d / 2;
  for (int64_t i = 0; i < x.rows; ++i) {
    const int64_t p = i % tokens + offset;
    for (int64_t j = 0; j < heads * h; ++j) {
      const int64_t lo = j / h * d + j % h, hi = lo + h;
      const double a = x(i, lo), b = x(i, hi), c = cos(p, j % h), s = sign * sin(p, j % h);
      x(i, lo) = a * c - b * s;
      x(i, hi) = b * c + a * s;
    }
  }
  return x;
}

inline double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
inline Mat SwiGlu(const Mat& gate, const Mat& up) {
  Mat out = gate;
  for (size_t i = 0; i < out.v.size(); ++i) out.v[i] *= Sigmoid(gate.v[i]) * up.v[i];
  return out;
}
struct SwiGluGrad {
  Mat dgate, dup;
};
inline SwiGluGrad SwiGluBackward(const Mat& gate, const Mat& up, const Mat& dout) {
  SwiGluGrad g = {gate, up};
  for (size_t i = 0; i < gate.v.size(); ++i) {
    const double x = gate.v[i], s = Sigmoid(x);
    g.dgate.v[i] = dout.v[i] * up.v[i] * (s + x * s * (1 - s));
    g.dup.v[i] = dout.v[i] * x * s;
  }
  return g;
}

struct Loss {
  Mat loss, grad;  // (1, n), (n, V)
};
inline Loss CrossEntropy(const Mat& logits, const std::vector<int32_t>& targets, double scale) {
  Loss out = {Mat(1, logits.rows), Mat(logits.rows, logits.cols)};
  for (int64_t i = 0; i < logits.rows; ++i) {
    if (targets[i] < 0) continue;
    double max = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int64_t j = 0; j < logits.cols; ++j) max = std::max(max, logits(i, j));
    for (int64_t j = 0; j < logits.cols; ++j) sum += std::exp(logits(i, j) - max);
    out.loss(0, i) = std::log(sum) + max - logits(i, targets[i]);
    for (int64_t j = 0; j < logits.cols; ++j) {
      out.grad(i, j) = scale * (std::exp(logits(i, j) - max) / sum - (j == targets[i] ? 1 : 0));
    }
  }
  return out;
}

struct AttentionInputs {
  AttentionShape shape;
  Mat q, k, v;
  double scale = 1;
  std::vector<int32_t> first_key;  // empty: 0
};
struct AttentionResult {
  Mat out, lse;
};
// `magnitude` is what the result would be if nothing cancelled: rounding errors are relative to it.
struct AttentionGrad {
  Mat dq, dk, dv;
  Mat dq_magnitude, dk_magnitude, dv_magnitude;
};

// body(row of q, head, row of k, kv head, visible) over all pairs of tokens of a slot.
template <typename Body>
void ForScores(const AttentionInputs& in, const Body& body) {
  const AttentionShape& s = in.shape;
  for (int64_t b = 0; b < s.slots; ++b) {
    for (int64_t i = 0; i < s.q_len; ++i) {
      const int64_t row = b * s.q_len + i;
      const int64_t first = in.first_key.empty() ? 0 : in.first_key[row];
      for (int64_t h = 0; h < s.heads; ++h) {
        for (int64_t j = first; j <= s.q_offset + i; ++j) {
          body(row, h, b * s.kv_len + j, h / (s.heads / s.kv_heads));
        }
      }
    }
  }
}

inline double Score(const AttentionInputs& in, int64_t row, int64_t h, int64_t key, int64_t g) {
  const int64_t d = in.shape.head_dim;
  double sum = 0;
  for (int64_t c = 0; c < d; ++c) sum += in.q(row, h * d + c) * in.k(key, g * d + c);
  return sum * in.scale;
}

inline AttentionResult Attention(const AttentionInputs& in) {
  const int64_t d = in.shape.head_dim;
  AttentionResult r = {Mat(in.q.rows, in.q.cols), Mat(in.q.rows, in.shape.heads)};
  ForScores(in, [&](int64_t row, int64_t h, int64_t key, int64_t g) {
    r.lse(row, h) += std::exp(Score(in, row, h, key, g));
  });
  for (double& x : r.lse.v) x = std::log(x);
  ForScores(in, [&](int64_t row, int64_t h, int64_t key, int64_t g) {
    const double p = std::exp(Score(in, row, h, key, g) - r.lse(row, h));
    for (int64_t c = 0; c < d; ++c) r.out(row, h * d + c) += p * in.v(key, g * d + c);
  });
  return r;
}

inline AttentionGrad AttentionBackward(const AttentionInputs& in, const Mat& dout) {
  const int64_t d = in.shape.head_dim;
  const AttentionResult f = Attention(in);
  AttentionGrad g = {Mat(in.q.rows, in.q.cols), Mat(in.k.rows, in.k.cols),
                     Mat(in.v.rows, in.v.cols), Mat(in.q.rows, in.q.cols),
                     Mat(in.k.rows, in.k.cols), Mat(in.v.rows, in.v.cols)};
  ForScores(in, [&](int64_t row, int64_t h, int64_t key, int64_t kv) {
    const double p = std::exp(Score(in, row, h, key, kv) - f.lse(row, h));
    double dp = 0, delta = 0, magnitude = 0;
    for (int64_t c = 0; c < d; ++c) {
      const double o = dout(row, h * d + c);
      dp += o * in.v(key, kv * d + c);
      delta += o * f.out(row, h * d + c);
      magnitude +=
          std::fabs(o) * (std::fabs(in.v(key, kv * d + c)) + std::fabs(f.out(row, h * d + c)));
    }
    for (int64_t c = 0; c < d; ++c) {
      const double o = dout(row, h * d + c), ds = p * (dp - delta) * in.scale;
      const double k = in.k(key, kv * d + c), q = in.q(row, h * d + c);
      g.dv(key, kv * d + c) += p * o;
      g.dq(row, h * d + c) += ds * k;
      g.dk(key, kv * d + c) += ds * q;
      g.dv_magnitude(key, kv * d + c) += p * std::fabs(o);
      g.dq_magnitude(row, h * d + c) += p * magnitude * in.scale * std::fabs(k);
      g.dk_magnitude(key, kv * d + c) += p * magnitude * in.scale * std::fabs(q);
    }
  });
  return g;
}

struct AdamWState {
  Mat p, m, v;
};
struct AdamWConstants {
  double lr, beta1, beta2, eps, weight_decay, grad_scale;
  int64_t step;
};
inline AdamWState AdamW(AdamWState s, const Mat& grad, const AdamWConstants& c) {
  const double t = static_cast<double>(c.step);
  for (size_t i = 0; i < s.p.v.size(); ++i) {
    const double g = grad.v[i] * c.grad_scale;
    s.p.v[i] *= 1 - c.lr * c.weight_decay;
    s.m.v[i] = c.beta1 * s.m.v[i] + (1 - c.beta1) * g;
    s.v.v[i] = c.beta2 * s.v.v[i] + (1 - c.beta2) * g * g;
    s.p.v[i] -= c.lr / (1 - std::pow(c.beta1, t)) * s.m.v[i] /
                (std::sqrt(s.v.v[i] / (1 - std::pow(c.beta2, t))) + c.eps);
  }
  return s;
}

// Squared norm of M / sqrt(V + eps), both bias-corrected for step t.
inline double AdamNorm(const Mat& m, const Mat& v, double beta1, double beta2, double eps,
                       double t) {
  double sum = 0;
  for (size_t i = 0; i < m.v.size(); ++i) {
    const double direction =
        m.v[i] / (1 - std::pow(beta1, t)) / std::sqrt(v.v[i] / (1 - std::pow(beta2, t)) + eps);
    sum += direction * direction;
  }
  return sum;
}

}  // namespace blockstep::reference
