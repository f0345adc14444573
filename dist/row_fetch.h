// Rows of a sharded tensor by id: the embedding without its table. Each rank learns which of its
// rows the others want when a batch is read (dist/row_lists.h). Then, per micro-step, N-1
// exchanges: in round k a rank sends to rank + k the rows that one wants of it and receives from
// rank - k. Steps: N-1. Bytes per rank: for each other rank row_bytes * (distinct ids in its list
// that this rank owns). Memory, kCommunication: 4 * max_tokens indices, 2 * L * row_bytes slabs, L
// = min(max_tokens, rows).
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/device/arena.h"
#include "core/ops/kernel_table.h"
#include "dist/row_lists.h"

namespace blockstep {

class RowFetch {
 public:
  // Micro-steps have at most `max_tokens` ids each.
  static absl::StatusOr<std::unique_ptr<RowFetch>> Create(const TensorInfo& tensor,
                                                          const Backend& backend, RankGroup group,
                                                          int64_t max_tokens, Arena& arena);

  // What the next calls of Fetch will ask for, one micro-step each. Collective, host-blocking.
  absl::Status Plan(std::span<const RowIds> micro_steps);

  // out (n, cols) = the rows of the next planned micro-step, between the work on `compute` before
  // and after. `owned` are this rank's rows.
  void Fetch(TensorView owned, TensorView out, Stream& compute);

 private:
  RowFetch(const TensorInfo& tensor, const Backend& backend, RankGroup group)
      : tensor_(tensor), backend_(backend), group_(group) {}
  // to = table rows `ids`, on the data stream; `ids` stay until the next Plan.
  void Take(TensorView table, const std::vector<int32_t>& ids, TensorView to);

  const TensorInfo tensor_;
  const Backend& backend_;
  const RankGroup group_;
  std::vector<RowLists> planned_;
  size_t next_ = 0;
  Event fetched_;
  int32_t* indices_ = nullptr;  // (max_tokens), of the Take in hand
  TensorView send_, recv_;      // (L, cols)
};

}  // namespace blockstep
