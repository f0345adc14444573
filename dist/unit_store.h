// The weights of one rank: the rows it owns of every tensor, pinned units whole, and gather buffers
// for the others. `replicated` is every unit pinned: the owned rows are then a view into the
// resident tensor. Units that are not pinned: decoder layers share two gather buffers of the
// largest layer; the head has one of its own; the embedding is fetched by index (tied: the head's
// buffer holds it whole). Bytes sent per gather of a unit: (N-1) * own rows of it. No padding
// travels.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/base/trace.h"
#include "core/device/arena.h"
#include "core/step/active_set.h"
#include "core/step/unit_source.h"
#include "core/tensor/sharding.h"
#include "dist/row_lists.h"

namespace blockstep {

struct UnitStoreOptions {
  const TensorTable* table = nullptr;
  const Backend* backend = nullptr;
  RankGroup group;           // the shard domain; size N
  std::vector<char> pinned;  // per unit
  int64_t max_tokens = 0;    // B*T of the largest micro-step, for GatherRows' slabs
  Tracer* tracer = nullptr;  // (optional)
};

class UnitStore : public UnitSource {
 public:
  static absl::StatusOr<std::unique_ptr<UnitStore>> Create(UnitStoreOptions options, Arena& arena);

  absl::Status Prefetch(int unit) override;
  absl::Status Acquire(int unit, Stream& compute) override;
  TensorView Weight(int tensor) const override;
  absl::Status Release(int unit, Stream& compute) override;
  absl::Status GatherRows(int tensor, const int32_t* ids, int64_t n, TensorView out,
                          Stream& compute) override;

  // Which ids the next calls of GatherRows will have, one micro-step each; before the first of
  // them. Collective and host-blocking, unless the embedding is resident.
  absl::Status PlanRows(std::span<const RowIds> micro_steps);

  // The rows this rank owns, (OwnedRows(tensor).size(), cols): read and written by loading, updates
  // and checkpoints, at fences or in the order of the stream that does it.
  TensorView Owned(int tensor) const;
  Range OwnedRange(int tensor) const;

  // After updates on `compute` wrote owned rows of the set's train entries: pinned units get the
  // active rows of all owners again (one all-gather of segments); later Acquires of those units
  // wait for it, others do not. Sharded units are gathered when next needed.
  absl::Status Publish(const ActiveSet& set, Stream& compute);
  // The same for every row of every pinned unit: after loading.
  absl::Status PublishAll(Stream& compute);

  // Bytes AllGather and Exchange will send for one forward and one backward over the given units
  // are the communicator's counters; see docs/collectives.md for the formula.

  ~UnitStore() override;

 private:
  struct Impl;
  explicit UnitStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace blockstep
