// Who needs which rows of a sharded tensor in the micro-steps of a batch. The host knows the ids
// when it reads the batch, so every later message has a size that is known before it is sent.
#pragma once

#include <span>
#include <vector>

#include "core/tensor/sharding.h"
#include "core/tensor/tensor_table.h"
#include "dist/communicator.h"

namespace blockstep {

// The ids of one micro-step on this rank, in host memory. Null on a backend without memory, which
// reads no batch: evenly spread ids stand for them.
struct RowIds {
  const int32_t* ids = nullptr;
  int64_t n = 0;
};

// One micro-step as this rank sees it.
struct RowLists {
  std::vector<int32_t> wanted;     // distinct ids, ascending
  std::vector<int64_t> from;       // N + 1: rank r owns wanted[from[r], from[r + 1])
  std::vector<int32_t> positions;  // (n) where in `wanted` each id stands
  // Per rank: which of this rank's rows it wants, ascending, counted from the first one owned here.
  std::vector<std::vector<int32_t>> asked;
};

// Collective and host-blocking; every rank passes as many micro-steps. Two messages. Bytes per
// rank: (N-1) * 4 * (M * N + 1) for the sizes, M micro-steps, then 4 per distinct id of a
// micro-step that another rank owns. OUT_OF_RANGE on every rank if one has an id outside the
// tensor.
absl::StatusOr<std::vector<RowLists>> ExchangeRowLists(const TensorInfo& tensor,
                                                       std::span<const RowIds> micro_steps,
                                                       Communicator& control);

}  // namespace blockstep
