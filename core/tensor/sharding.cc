#include "core/tensor/sharding.h"

#include <algorithm>
#include <numeric>

namespace blockstep {

int64_t QuantumRows(int64_t cols) { return kQuantumElements / std::gcd(kQuantumElements, cols); }

// Both are powers of two, so the larger one is a multiple of the other.
int64_t EntryRows(int64_t cols) { return std::max(kRowTile, QuantumRows(cols)); }

int64_t ShardRows(const TensorInfo& tensor, int64_t shards) {
  const int64_t quantum = QuantumRows(tensor.cols);
  return quantum * DivCeil(DivCeil(tensor.rows, quantum), shards);
}

Range OwnedRows(const TensorInfo& tensor, int64_t shards, int64_t shard) {
  const int64_t rows = ShardRows(tensor, shards);
  return {std::min(shard * rows, tensor.rows), std::min((shard + 1) * rows, tensor.rows)};
}

int64_t PaddedRows(const TensorInfo& tensor, int64_t shards) {
  return shards * ShardRows(tensor, shards);
}

}  // namespace blockstep
