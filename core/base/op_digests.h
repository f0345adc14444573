// What every op of a run computed, as digests in a text file of each rank, so that two runs that
// should agree and do not can be compared op by op (`blockstep verify --bisect`). A record's key
// names data, never ranks: with `slot_exact`, equal runs write equal records whatever the number of
// ranks and wherever the weights lie; parts of one record that several ranks hold add up.
//
// A line is "step pass part slot op sum elements label", step by step in ascending order.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace blockstep {

// The parts of a pass over the slots of a step, in the order in which one follows from the other.
enum class StepPart : uint8_t {
  kSet,      // what learns
  kSlot,     // forward and backward of one slot
  kReduced,  // gradients, summed over slots
  kAgreed,   // loss and norms
  kUpdate,   // weights and state
};

struct OpKey {
  int64_t step = 0;
  int64_t pass = 0;  // a sweep passes over a step's slots several times
  StepPart part = StepPart::kSet;
  int64_t slot = -1;  // kSlot: position in the data order
  int64_t op = 0;     // its number in the program order of (pass, part, slot)
  friend auto operator<=>(const OpKey&, const OpKey&) = default;
};

// Sum over elements of a hash of (index in the whole tensor, bits), modulo 2^64: parts add up in
// any order.
struct OpDigest {
  uint64_t sum = 0;
  int64_t elements = 0;
  void Add(int64_t index, uint64_t bits) {
    uint64_t x = static_cast<uint64_t>(index) * 0x9e3779b97f4a7c15u + bits;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;  // Stafford's mix 13, as in SplitMix64
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    sum += x ^ (x >> 31);
    ++elements;
  }
  void Add(const OpDigest& other) { sum += other.sum, elements += other.elements; }
  friend bool operator==(const OpDigest&, const OpDigest&) = default;
};

struct OpRecord {
  OpKey key;
  OpDigest digest;
  std::string label;  // "backward layer 1: swiglu dgate"
};

std::string OpRecordLine(const OpRecord& record);  // with the line's end
// DATA_LOSS: no such line.
absl::StatusOr<OpRecord> ParseOpRecord(std::string_view line);

// Where rank `rank`'s records of a run lie, `path` being runtime.digests.
std::string OpDigestPath(const std::string& path, int rank);

}  // namespace blockstep
