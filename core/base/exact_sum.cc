#include "core/base/exact_sum.h"

#include <cmath>
#include <limits>

namespace blockstep {
namespace {

constexpr int kLoBits = 52;
constexpr int64_t kLoMask = (int64_t{1} << kLoBits) - 1;

// A sum that outgrew its range is counted and begins at 0 again: limbs never overflow, however much
// is added afterwards.
void Carry(ExactSum& s) {
  s.hi += s.lo >> kLoBits;  // arithmetic shift: floor
  s.lo &= kLoMask;
  if (s.hi < (int64_t{1} << 62) && s.hi > -(int64_t{1} << 62)) return;
  ++s.bad;
  s.hi = s.lo = 0;
}

}  // namespace

void ExactSum::Add(double value) {
  if (!(std::fabs(value) < 0x1p42)) {
    ++bad;
    return;
  }
  // floor to units of 2^-20 is exact in a double (|value| * 2^20 < 2^62, and floor is exact); the
  // rest is below one unit, so the second rounding is the only one.
  const double high = std::floor(value * 0x1p20);
  const double low = std::nearbyint((value - high * 0x1p-20) * 0x1p72);
  hi += static_cast<int64_t>(high);
  lo += static_cast<int64_t>(low);
  Carry(*this);
}

void ExactSum::Add(const ExactSum& other) {
  hi += other.hi;
  lo += other.lo;
  bad += other.bad;
  Carry(*this);
}

double ExactSum::ToDouble() const {
  if (bad > 0) return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>(hi) * 0x1p-20 + static_cast<double>(lo) * 0x1p-72;
}

}  // namespace blockstep
