// The small device buffers a step needs besides model, weights and gradients: tokens, losses, norms
// and the gradient scale. Carved once; MemoryClass::kData. The host sees them through mirrors: what
// moves is ordered on the stream that is given, and read by the host after a fence.
#pragma once

#include <functional>
#include <vector>

#include "core/base/exact_sum.h"
#include "core/device/arena.h"
#include "core/device/host_mirror.h"
#include "dist/row_lists.h"
#include "model/llama.h"

namespace blockstep {

// Fills `count` slots from position `position` of the data order, in host memory: inputs and
// targets (count*T), first visible key per token (count*T; null: no document mask).
struct SlotBuffers {
  int32_t* inputs = nullptr;
  int32_t* targets = nullptr;
  int32_t* first_key = nullptr;
};
using ReadSlots =
    std::function<absl::Status(int64_t position, int64_t count, const SlotBuffers& out)>;

enum class DocumentMask : uint8_t { kOff, kOn };

class StepBuffers {
 public:
  // `slots` of `tokens` each at once on this rank; room for `max_entries` norms.
  static absl::StatusOr<StepBuffers> Create(const Backend& backend, int64_t slots, int64_t tokens,
                                            int64_t max_entries, DocumentMask mask, Arena& arena);

  // Reads slots [position, position + count) into local slots 0 .. count.
  absl::Status Read(const ReadSlots& read, int64_t position, int64_t count, Stream& stream);
  // Micro-batch of local slots `range`.
  MicroBatch Batch(Range range) const;
  // Its ids as the host has them.
  RowIds Ids(Range range) const;
  float* Loss(int64_t local_slot) const { return losses_.device() + local_slot * tokens_; }

  // What LossSum and Norms read after the next fence.
  void FetchLosses(int64_t slots, Stream& stream) const;
  void FetchNorms(size_t count, Stream& stream) const;
  // Host side: the exact sum of slot sums, how many targets counted, the norms. On a backend
  // without memory (null) losses and norms are 0 and every target counts.
  ExactSum LossSum(int64_t count) const;
  int64_t CountedTokens(int64_t count) const;
  std::vector<ExactSum> Norms(size_t count) const;
  void ClearNorms(size_t count, Stream& stream);
  void SetGradScale(float value, Stream& stream);

  ExactSum* norm(size_t entry) const { return norms_.device() + entry; }
  const float* grad_scale() const { return grad_scale_.device(); }

 private:
  bool real_ = true;
  int64_t tokens_ = 0;
  HostMirror<int32_t> inputs_, targets_, first_key_;
  HostMirror<float> losses_;
  HostMirror<ExactSum> norms_;
  HostMirror<float> grad_scale_;
};

}  // namespace blockstep
