#include "launcher/train/engine/step_buffers.h"

#include <algorithm>

#include "core/base/status.h"

namespace blockstep {
namespace {

template <typename T>
absl::Status Carve(Arena& arena, const char* name, int64_t count, T** out) {
  ASSIGN_OR_RETURN(void* data, arena.Allocate(MemoryClass::kData, name,
                                              count * static_cast<int64_t>(sizeof(T))));
  *out = static_cast<T*>(data);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<StepBuffers> StepBuffers::Create(const Backend& backend, int64_t slots,
                                                int64_t tokens, int64_t max_entries,
                                                DocumentMask mask, Arena& arena) {
  StepBuffers b;
  b.real_ = backend.device.real_memory;
  b.tokens_ = tokens;
  RETURN_IF_ERROR(Carve(arena, "inputs", slots * tokens, &b.slots_.inputs));
  RETURN_IF_ERROR(Carve(arena, "targets", slots * tokens, &b.slots_.targets));
  if (mask == DocumentMask::kOn) {
    RETURN_IF_ERROR(Carve(arena, "first keys", slots * tokens, &b.slots_.first_key));
  }
  RETURN_IF_ERROR(Carve(arena, "losses", slots * tokens, &b.loss_));
  RETURN_IF_ERROR(Carve(arena, "squared norms", max_entries, &b.norms_));
  RETURN_IF_ERROR(Carve(arena, "gradient scale", 1, &b.grad_scale_));
  return b;
}

absl::Status StepBuffers::Read(const ReadSlots& read, int64_t position, int64_t count) {
  if (count == 0 || !real_) return absl::OkStatus();
  return read(position, count, slots_);
}

MicroBatch StepBuffers::Batch(Range range) const {
  const int64_t at = range.begin * tokens_;
  return {.slots = range.size(),
          .inputs = slots_.inputs + at,
          .targets = slots_.targets + at,
          .first_key = slots_.first_key == nullptr ? nullptr : slots_.first_key + at};
}

ExactSum StepBuffers::LossSum(int64_t count) const {
  ExactSum sum;
  for (int64_t slot = 0; slot < (real_ ? count : 0); ++slot) {
    double slot_sum = 0;
    for (int64_t t = 0; t < tokens_; ++t) slot_sum += Loss(slot)[t];
    sum.Add(slot_sum);
  }
  return sum;
}

int64_t StepBuffers::CountedTokens(int64_t count) const {
  if (!real_) return count * tokens_;
  int64_t counted = 0;
  for (int64_t i = 0; i < count * tokens_; ++i) counted += slots_.targets[i] >= 0;
  return counted;
}

std::vector<ExactSum> StepBuffers::Norms(size_t count) const {
  if (!real_) return std::vector<ExactSum>(count);
  return {norms_, norms_ + count};
}

void StepBuffers::ClearNorms(size_t count) {
  if (real_) std::fill_n(norms_, count, ExactSum{});
}

void StepBuffers::SetGradScale(float value) {
  if (real_) *grad_scale_ = value;
}

}  // namespace blockstep
