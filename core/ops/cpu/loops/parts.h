// Walks n elements in vectors of 16; the last, shorter one runs the same operations on padded
// lanes, so an element's bits do not depend on where the row ends.
#pragma once

#include "core/ops/cpu/loops/vec.h"

namespace blockstep::cpu::BLOCKSTEP_LOOPS_ISA {

struct WholeVector {
  BLOCKSTEP_INLINE F32x16 Get(const float* p) { return Load(p); }
  BLOCKSTEP_INLINE void Put(float* p, const F32x16& x) { Store(p, x); }
};
struct PartVector {
  int64_t n;
  inline __attribute__((always_inline)) F32x16 Get(const float* p) const { return LoadPart(p, n); }
  inline __attribute__((always_inline)) void Put(float* p, const F32x16& x) const {
    StorePart(p, x, n);
  }
};

// body(offset, io) with io.Get and io.Put.
template <typename Body>
BLOCKSTEP_INLINE void ForVectors(int64_t n, Body&& body) {
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) body(i, WholeVector{});
  if (i < n) body(i, PartVector{n - i});
}

}  // namespace blockstep::cpu::BLOCKSTEP_LOOPS_ISA
