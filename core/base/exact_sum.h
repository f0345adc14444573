// Sums whose result does not depend on order or grouping: each double is rounded once to a multiple
// of 2^-72 and added as a two-limb integer; limbs add separately, so ranks add limb by limb.
// Range +-2^43; lo limbs are 52 bits wide, so up to 2^11 canonical sums may be added before
// Carry(). A value or a sum out of range, or not finite, is counted, never folded in.
#pragma once

#include <cstdint>

namespace blockstep {

struct ExactSum {
  int64_t lo = 0;   // units of 2^-72, in [0, 2^52) once canonical
  int64_t hi = 0;   // units of 2^-20
  int64_t bad = 0;  // values that were not finite or did not fit

  void Add(double value);
  void Add(const ExactSum& other);  // then canonical
  double ToDouble() const;          // NaN if bad > 0
};

}  // namespace blockstep
