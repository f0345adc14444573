#include "core/data/slot_order.h"

#include <bit>

#include "core/base/check.h"
#include "core/base/philox.h"

namespace blockstep {
namespace {

// Four rounds make a pseudorandom permutation from a random round function (Luby and Rackoff); the
// rest is for domains of a few bits, where four rounds reach few permutations.
constexpr int kRounds = 8;

}  // namespace

SlotOrder::SlotOrder(SlotOrderKind kind, int64_t slots, uint64_t seed)
    : kind_(kind), slots_(slots), seed_(seed) {
  CHECK_GT(slots, 0);
  CHECK_LT(slots, int64_t{1} << 62);
  const int bits = std::bit_width(static_cast<uint64_t>(slots - 1));
  half_bits_ = bits <= 2 ? 1 : (bits + 1) / 2;
}

SlotRef SlotOrder::At(int64_t position) const {
  CHECK_GE(position, 0);
  SlotRef ref{position / slots_, position % slots_};
  if (kind_ == SlotOrderKind::kFile) return ref;
  CHECK_LT(ref.epoch, int64_t{1} << 32);
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  uint64_t value = static_cast<uint64_t>(ref.slot);
  do {
    uint64_t left = value >> half_bits_, right = value & mask;
    for (int round = 0; round < kRounds; ++round) {
      const uint64_t counter = (static_cast<uint64_t>(round) << 32) | right;
      const uint64_t mixed =
          left ^
          (DrawU64(seed_, RandomUse::kShuffle, static_cast<uint32_t>(ref.epoch), counter) & mask);
      left = right;
      right = mixed;
    }
    value = (left << half_bits_) | right;
  } while (value >= static_cast<uint64_t>(slots_));
  ref.slot = static_cast<int64_t>(value);
  return ref;
}

}  // namespace blockstep
