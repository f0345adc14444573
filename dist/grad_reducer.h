// Local dW of active entries, summed over micro-steps and slots, reduced to the owners of the rows
// and overlapped with the rest of backward.
//   fast:       dW accumulates in one buffer (+=); the last micro-step's Done reduces it
//               (accumulate: local), or every micro-step's Done does (sharded).
//   slot_exact: every micro-step is one slot; slots are summed in the fixed binary tree over slot
//   ids
//               (dist/slot_tree.h): ranks keep a stack of partial sums, send whole subtrees to each
//               owner, and the owner completes the tree. The result has the same bits for every
//               number of ranks.
// Probes are reduced and kept for their norm like train entries; MemoryClass::kSlotProbe.
#pragma once

#include <memory>

#include "core/base/trace.h"
#include "core/device/arena.h"
#include "core/ops/kernel_table.h"
#include "core/step/grad_sink.h"
#include "core/tensor/sharding.h"
#include "dist/communicator.h"

namespace blockstep {

enum class Numerics : uint8_t { kFast, kSlotExact };
enum class GradAccumulation : uint8_t { kLocal, kSharded };

struct GradReducerOptions {
  const TensorTable* table = nullptr;
  const Backend* backend = nullptr;
  Communicator* data = nullptr;    // inside the group: reduces to the owners of rows
  Communicator* across = nullptr;  // between the groups' owners of equal rows; null: one group
  Numerics numerics = Numerics::kFast;
  GradAccumulation accumulation = GradAccumulation::kLocal;
  Tracer* tracer = nullptr;  // (optional)
};

// The slots of one step, the same for every step of a run. N ranks in all, G groups of n.
struct SlotSpan {
  int64_t slots = 0;        // S, of the whole step and all ranks
  Range mine;               // this rank's contiguous slots: SplitEvenly(S, N, g * n + shard)
  int64_t micro_steps = 0;  // M, equal on all ranks; slot_exact: one slot each (some ranks have an
                            // empty last one)
};

class GradReducer : public GradSink {
 public:
  static absl::StatusOr<std::unique_ptr<GradReducer>> Create(GradReducerOptions options,
                                                             SlotSpan span);
  ~GradReducer() override;

  // Carves buffers for `set` after the caller's mark; all streams are fenced.
  absl::Status BeginPhase(const ActiveSet& set, Arena& arena);

  // `slots_inside` is how many slots this rank's micro-step has; 0: weight 0, nothing is written,
  // but Done is still called for every entry, in the same order.
  void BeginMicroStep(int64_t micro_step, int64_t slots_inside);
  GradTarget Target(int entry) override;
  absl::Status Done(int entry, Stream& compute) override;

  // Orders `compute` after all reductions of the step.
  absl::Status Finish(Stream& compute);

  // After Finish: the reduced gradient of the entry's rows that this rank owns, (rows, cols), may
  // be empty; and which rows of the tensor those are.
  TensorView Reduced(int entry) const;
  Range ReducedRows(int entry) const;

 private:
  struct Impl;
  explicit GradReducer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace blockstep
