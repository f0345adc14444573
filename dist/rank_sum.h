// The one order in which host communicators add what ranks contribute: ((r0 + r1) + r2) + ... per
// element, so that `local` and `mpi` give the same bits.
#pragma once

#include <cstdint>
#include <vector>

namespace blockstep {

// out[i] = parts[0][i] + parts[1][i] + ...; `out` may be one of the parts.
inline void SumInRankOrder(const std::vector<const float*>& parts, int64_t n, float* out) {
  constexpr int64_t kBlock = 1024;  // stays in the first-level cache while all parts are added
  float sum[kBlock];
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t size = n - begin < kBlock ? n - begin : kBlock;
    for (int64_t i = 0; i < size; ++i) sum[i] = parts[0][begin + i];
    for (size_t p = 1; p < parts.size(); ++p) {
      for (int64_t i = 0; i < size; ++i) sum[i] += parts[p][begin + i];
    }
    for (int64_t i = 0; i < size; ++i) out[begin + i] = sum[i];
  }
}

}  // namespace blockstep
