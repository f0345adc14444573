// How GradReducer keeps, adds and reduces the dW of its entries: one strategy per (numerics,
// accumulation). Internal to dist. Memory per rank, every block rounded up to 256 bytes, e over
// entries, dW(e) = 4 * entry elements, own(e) = 4 * elements of the entry's rows this rank owns:
//   LocalSum    sum dW(e); kGradients (probes: kSlotProbe)
//   ShardedSum  sum own(e), likewise, and staging in kCommunication: two of the largest active
//               layer's sum of dW(e), one of the larger of embedding and head (tied: of both
//               together)
//   SlotTreeSum depth * sum dW(e): the first of each entry like LocalSum, the others kSlotProbe;
//               and staging in kCommunication: max over e and ranks of own(e), times the most nodes
//               that any rank receives, inside its group and then from other groups. depth, nodes:
//               dist/slot_tree.h, the largest of all ranks.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/device/arena.h"
#include "core/ops/kernel_table.h"
#include "core/step/grad_sink.h"
#include "dist/grad_reducer.h"

namespace blockstep {

// An entry and who owns which of its rows.
struct EntryGeometry {
  ActiveEntry entry;
  std::string name;
  int unit = 0;
  UnitKind kind = UnitKind::kLayer;
  int64_t cols = 0;
  std::vector<Range> owned;  // per rank, rows relative to entry.rows.begin

  int64_t rows() const { return entry.rows.size(); }
  int64_t bytes() const { return rows() * cols * DTypeSize(DType::kF32); }
  int64_t owned_bytes(int rank) const { return owned[rank].size() * cols * 4; }
  MemoryClass memory_class() const {
    return entry.role == Role::kProbe ? MemoryClass::kSlotProbe : MemoryClass::kGradients;
  }
  TensorView ViewAt(void* data) const { return TensorView::Of(data, DType::kF32, rows(), cols); }
};

struct MicroStepPosition {
  int64_t index = -1;
  bool first = false, last = false;
  bool wrote = false;  // this rank has slots in it
};

class GradStrategy {
 public:
  virtual ~GradStrategy() = default;
  // All streams are fenced; the entries stay valid until the next call.
  virtual absl::Status Carve(const std::vector<EntryGeometry>& entries, Arena& arena) = 0;
  virtual GradTarget Target(int entry, const MicroStepPosition& micro) = 0;
  virtual void Done(int entry, const MicroStepPosition& micro, Stream& compute) = 0;
  // The whole step's gradient of the rows this rank owns.
  virtual TensorView Reduced(int entry) const = 0;
};

// Adds `own`, contiguous rows that were reduced inside each group, over the groups: in place, on
// the data stream. Two calls; bytes per rank 2 * (G-1)/G * own. Nothing where there is one group.
void ReduceAcross(const GradReducerOptions& options, TensorView own, const std::string& name);

std::unique_ptr<GradStrategy> NewLocalSum(const GradReducerOptions& options);
std::unique_ptr<GradStrategy> NewShardedSum(const GradReducerOptions& options);
std::unique_ptr<GradStrategy> NewSlotTreeSum(const GradReducerOptions& options,
                                             const SlotSpan& span);

}  // namespace blockstep
