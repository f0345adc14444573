// Which units a rank keeps whole, when memory allows some: from the top down, since the units above
// the cut are read twice a step (forward and backward) and those below once.
#pragma once

#include <cstdint>
#include <vector>

#include "core/tensor/tensor_table.h"

namespace blockstep {

// Bytes that pinning `unit` adds to a rank that keeps its share anyway.
int64_t PinBytes(const TensorTable& table, int unit, int64_t shards, int64_t weight_bytes);

// Per unit: 1 = pinned. Units from the head down, each if it still fits into `budget` bytes.
std::vector<char> PinsWithin(const TensorTable& table, int64_t shards, int64_t weight_bytes,
                             int64_t budget);

}  // namespace blockstep
