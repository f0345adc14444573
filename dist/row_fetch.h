// Rows of a sharded tensor by id: the embedding without its table. Every rank sorts its ids and
// drops repeats, all ranks learn all lists (one all-gather of fixed size), then N-1 exchanges: in
// round k a rank sends to rank + k the rows that one wants of it and receives from rank - k. Steps:
// N. Bytes per rank: (N-1) * 4 * (L + 1) for the lists, L = min(max_tokens, rows); and for each
// other rank 4 * cols * (distinct ids in its list that this rank owns).
// Memory, kCommunication: 4 * N * (L + 1) lists, 2 * 4 * L * cols slabs.
// On a backend without memory the ids are unknown: the exchanges count evenly spread ids.
#pragma once

#include <memory>
#include <vector>

#include "core/device/arena.h"
#include "core/tensor/sharding.h"
#include "dist/communicator.h"

namespace blockstep {

class RowFetch {
 public:
  static absl::StatusOr<std::unique_ptr<RowFetch>> Create(const TensorInfo& tensor,
                                                          const Backend& backend,
                                                          Communicator* group, int64_t max_tokens,
                                                          Arena& arena);

  // out (n, cols) = rows ids[0..n), between the work on `compute` before and after. `owned` are
  // this rank's rows. An id outside the tensor fails the stream with OUT_OF_RANGE.
  void Fetch(TensorView owned, const int32_t* ids, int64_t n, TensorView out, Stream& compute);

 private:
  RowFetch(const TensorInfo& tensor, Communicator* group) : tensor_(tensor), group_(group) {}
  struct List {  // sorted ids of one rank
    const int32_t* begin;
    const int32_t* end;
    List Within(Range rows) const;
    int64_t size() const { return end - begin; }
  };
  List ListOf(int rank) const;
  absl::Status MakeOwnList(const int32_t* ids, int64_t n);
  ExchangeLists Round(int k, TensorView owned);
  ExchangeLists AssumedRound(int k, int64_t n);
  void Scatter(TensorView owned, const int32_t* ids, int64_t n, TensorView out) const;
  Range Owned(int rank) const { return OwnedRows(tensor_, group_->size(), rank); }

  const TensorInfo tensor_;
  Communicator* const group_;
  bool real_ = true;
  int64_t stride_ = 0;        // L + 1
  int32_t* lists_ = nullptr;  // (N, L + 1): length, ids
  TensorView send_, recv_;    // (L, cols)
};

}  // namespace blockstep
