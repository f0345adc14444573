// The weights a rank always holds: its own rows of sharded tensors, and pinned tensors whole. One
// rank alone holds everything whole, so nothing is ever gathered.
//   bytes of a sharded tensor: ShardRows * row_bytes, MemoryClass::kWeights
//   bytes of a pinned one:     PaddedRows * row_bytes, MemoryClass::kPinned
#pragma once

#include <cstdint>
#include <vector>

#include "core/device/arena.h"
#include "core/tensor/sharding.h"
#include "core/tensor/tensor_table.h"

namespace blockstep {

// Which units a rank keeps whole, when memory allows some: from the top down, since the units above
// the cut are read twice a step (forward and backward) and those below once. Per unit: 1 = pinned,
// each if it still fits into `budget` bytes.
std::vector<char> PinsWithin(const TensorTable& table, int64_t shards, int64_t budget);

class ResidentWeights {
 public:
  // `pinned` is per unit; `rank` of `ranks` is this one.
  static absl::StatusOr<ResidentWeights> Create(const TensorTable& table,
                                                const std::vector<char>& pinned, int ranks,
                                                int rank, Arena& arena);

  bool resident(int unit) const { return resident_[unit]; }
  TensorView Owned(int tensor) const { return owned_[tensor]; }
  // Of a tensor whose unit is resident.
  TensorView Whole(int tensor) const { return whole_[tensor]; }

 private:
  std::vector<char> resident_;
  std::vector<TensorView> owned_, whole_;
};

}  // namespace blockstep
