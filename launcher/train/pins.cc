#include "launcher/train/pins.h"

#include "core/tensor/sharding.h"

namespace blockstep {

int64_t PinBytes(const TensorTable& table, int unit, int64_t shards, int64_t weight_bytes) {
  int64_t elements = 0;
  for (int t : table.units[unit].tensors) {
    const TensorInfo& tensor = table.tensors[t];
    elements += (PaddedRows(tensor, shards) - ShardRows(tensor, shards)) * tensor.cols;
  }
  return elements * weight_bytes;
}

std::vector<char> PinsWithin(const TensorTable& table, int64_t shards, int64_t weight_bytes,
                             int64_t budget) {
  std::vector<char> pinned(table.units.size(), 0);
  for (int unit = static_cast<int>(table.units.size()) - 1; unit >= 0; --unit) {
    const int64_t bytes = PinBytes(table, unit, shards, weight_bytes);
    if (bytes > budget) continue;
    budget -= bytes;
    pinned[unit] = 1;
  }
  return pinned;
}

}  // namespace blockstep
