// Who owns which rows of a tensor. Every tensor is sharded by itself along rows; the
// quantum is the fewest whole rows whose element count is a multiple of 256, so blocks of 256
// elements never straddle two ranks and do not depend on the number of ranks.
#pragma once

#include <cstdint>

#include "core/base/math.h"
#include "core/tensor/tensor_table.h"

namespace blockstep {

inline constexpr int64_t kQuantumElements = 256;
// Tiles of a GEMM start on multiples of this absolute row.
inline constexpr int64_t kRowTile = 64;

// Rows in one quantum of a tensor with `cols` columns: 256 / gcd(256, cols).
int64_t QuantumRows(int64_t cols);

// Row ranges of active entries of such a tensor start on a multiple of this (and end on one, or at
// the last row): neither tiles of a GEMM nor quanta of a norm are cut, whatever the range.
int64_t EntryRows(int64_t cols);

// Rows per rank, padding included: QuantumRows * ceil(quanta / shards).
int64_t ShardRows(const TensorInfo& tensor, int64_t shards);

// Rows that rank `shard` of `shards` owns: [shard*ShardRows, ...) cut at tensor.rows; may be empty.
Range OwnedRows(const TensorInfo& tensor, int64_t shards, int64_t shard);

// Rows the padded tensor has in memory: shards * ShardRows.
int64_t PaddedRows(const TensorInfo& tensor, int64_t shards);

}  // namespace blockstep
