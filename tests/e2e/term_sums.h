// The weight gradients of a run in double, from the operands that its kernels were given: a CPU
// backend that, beside every dW, sums the same terms and their magnitudes. One rank, one thread.
//   matmul with A transposed  dw[i][j] (+)= sum over tokens dy[t][i] * x[t][j]
//   norm                      dw[j]    (+)= sum over tokens dy[t][j] * s[t][j] * rstd[t]
//   embedding                 dw[id]   (+)= sum over tokens with that id dout[t]
#pragma once

#include <cmath>
#include <map>
#include <vector>

#include "core/backends/backends.h"
#include "core/device/host_stream.h"

namespace blockstep::testing {

struct TermSums {
  std::vector<double> sum, magnitude;  // of the terms, of their absolute values
  int64_t terms = 0;                   // most terms of one element
};

// By the address that dW was written to; of the thread that runs kernels.
inline std::map<const void*, TermSums>& Sums() {
  thread_local std::map<const void*, TermSums> sums;
  return sums;
}

inline TermSums& SumsAt(const TensorView& dw, Accumulate accumulate, int64_t terms) {
  TermSums& s = Sums()[dw.data];
  if (accumulate == Accumulate::kAssign) s = {};
  s.sum.resize(dw.size());
  s.magnitude.resize(dw.size());
  s.terms += terms;
  return s;
}

inline void AddTerm(TermSums& s, int64_t at, double term) {
  s.sum[at] += term;
  s.magnitude[at] += std::abs(term);
}

inline void SumTerms(const MatmulArgs& a) {
  if (a.trans_a == Transpose::kNo) return;
  TermSums& s = SumsAt(a.d, a.accumulate, a.a.rows);
  for (int64_t t = 0; t < a.a.rows; ++t) {
    for (int64_t i = 0; i < a.d.rows; ++i) {
      for (int64_t j = 0; j < a.d.cols; ++j) {
        AddTerm(s, i * a.d.cols + j, double{a.a.f32(t)[i]} * a.b.f32(t)[j]);
      }
    }
  }
}

inline void SumTerms(const RmsNormBackwardArgs& a) {
  if (!a.dweight.defined()) return;
  TermSums& s = SumsAt(a.dweight, a.dweight_accumulate, a.dy.rows);
  for (int64_t t = 0; t < a.dy.rows; ++t) {
    for (int64_t j = 0; j < a.dy.cols; ++j) {
      AddTerm(s, j, double{a.dy.f32(t)[j]} * a.s.f32(t)[j] * a.rstd.f32()[t]);
    }
  }
}

inline void SumTerms(const EmbeddingBackwardArgs& a) {
  TermSums& s = SumsAt(a.dtable, a.accumulate, a.dout.rows);
  for (int64_t t = 0; t < a.dout.rows; ++t) {
    const int64_t row = a.ids[t] - a.first_row;
    if (row < 0 || row >= a.dtable.rows) continue;
    for (int64_t j = 0; j < a.dtable.cols; ++j) {
      AddTerm(s, row * a.dtable.cols + j, a.dout.f32(t)[j]);
    }
  }
}

template <typename Args, Op<Args> KernelTable::*kOp>
void Summed(Stream& stream, const Args& args) {
  OnHost(stream).Run([args] { SumTerms(args); });
  (CpuBackend().kernels->*kOp)(stream, args);
}

inline Backend SummingBackend() {
  using K = KernelTable;
  static const KernelTable table = [] {
    KernelTable k = *CpuBackend().kernels;
    k.matmul = Summed<MatmulArgs, &K::matmul>;
    k.rms_norm_backward = Summed<RmsNormBackwardArgs, &K::rms_norm_backward>;
    k.embedding_backward = Summed<EmbeddingBackwardArgs, &K::embedding_backward>;
    return k;
  }();
  Backend backend = CpuBackend();
  backend.kernels = &table;
  return backend;
}

}  // namespace blockstep::testing
