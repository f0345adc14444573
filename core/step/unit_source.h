// How the model gets weights it may not own. For every unit and pass: Prefetch (optional, earlier),
// Acquire, use on the compute stream, Release. Same order of calls on every rank: each may issue a
// collective.
#pragma once

#include "absl/status/statusor.h"
#include "core/device/stream.h"
#include "core/tensor/tensor_view.h"

namespace blockstep {

class UnitSource {
 public:
  virtual ~UnitSource() = default;

  // Starts bringing `unit` in; returns at once. Does nothing for a pinned unit.
  virtual absl::Status Prefetch(int unit) = 0;

  // Orders `compute` after the arrival of `unit`; until Release, Weight() of its tensors is valid
  // for work on `compute`. Prefetches if nobody did. At most two unpinned units of a kind at once.
  virtual absl::Status Acquire(int unit, Stream& compute) = 0;

  // The whole tensor, (rows, cols); vectors as (rows, 1). Only between Acquire and Release.
  virtual TensorView Weight(int tensor) const = 0;

  // Work on `compute` so far is the last that reads `unit`.
  virtual absl::Status Release(int unit, Stream& compute) = 0;

  // Rows `ids[0..n)` of `tensor` into out (n, cols) =, ordered on `compute`, without the unit being
  // acquired; `n` may differ between ranks, 0 included. Collective.
  virtual absl::Status GatherRows(int tensor, const int32_t* ids, int64_t n, TensorView out,
                                  Stream& compute) = 0;
};

}  // namespace blockstep
