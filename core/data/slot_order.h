// Which slot of a file the run's g-th position is. A pure function of (seed, g), so a cursor is one
// number, no list is kept and nothing depends on the number of ranks.
//
// Position g lies in epoch g / n at index g % n. `shuffled` maps the index through a permutation of
// [0, n) keyed by (seed, epoch): a balanced Feistel network whose round function is Philox, on the
// smallest domain of an even number of bits that holds n (below 4n), walked until it lands below n
// (Black and Rogaway, CT-RSA 2002). `file` is the identity.
#pragma once

#include <cstdint>

#include "core/base/math.h"

namespace blockstep {

enum class SlotOrderKind : uint8_t { kShuffled, kFile };

struct SlotRef {
  int64_t epoch = 0;
  int64_t slot = 0;
  friend bool operator==(const SlotRef&, const SlotRef&) = default;
};

// Slots of T+1 tokens, stride T, that `tokens` tokens hold: slot i is tokens [iT, iT + T + 1).
constexpr int64_t SlotsInFile(int64_t tokens, int64_t slot_tokens) {
  return tokens < slot_tokens + 1 ? 0 : (tokens - 1) / slot_tokens;
}

class SlotOrder {
 public:
  // slots > 0: of the file.
  SlotOrder(SlotOrderKind kind, int64_t slots, uint64_t seed);
  SlotRef At(int64_t position) const;
  int64_t slots() const { return slots_; }

 private:
  SlotOrderKind kind_;
  int64_t slots_;
  uint64_t seed_;
  int half_bits_;
};

}  // namespace blockstep
