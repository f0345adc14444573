#include "launcher/train/engine/step_buffers.h"

#include <algorithm>

#include "core/base/status.h"

namespace blockstep {
namespace {

template <typename T>
absl::Status Carve(const Backend& backend, Arena& arena, const char* name, int64_t count,
                   HostMirror<T>& out) {
  ASSIGN_OR_RETURN(void* data, arena.Allocate(MemoryClass::kData, name,
                                              count * static_cast<int64_t>(sizeof(T))));
  ASSIGN_OR_RETURN(out, HostMirror<T>::Create(backend, data, count));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<StepBuffers> StepBuffers::Create(const Backend& backend, int64_t slots,
                                                int64_t tokens, int64_t max_entries,
                                                DocumentMask mask, Arena& arena) {
  StepBuffers b;
  b.real_ = backend.device.real_memory;
  b.tokens_ = tokens;
  RETURN_IF_ERROR(Carve(backend, arena, "inputs", slots * tokens, b.inputs_));
  RETURN_IF_ERROR(Carve(backend, arena, "targets", slots * tokens, b.targets_));
  if (mask == DocumentMask::kOn) {
    RETURN_IF_ERROR(Carve(backend, arena, "first keys", slots * tokens, b.first_key_));
  }
  RETURN_IF_ERROR(Carve(backend, arena, "losses", slots * tokens, b.losses_));
  RETURN_IF_ERROR(Carve(backend, arena, "squared norms", max_entries, b.norms_));
  RETURN_IF_ERROR(Carve(backend, arena, "gradient scale", 1, b.grad_scale_));
  return b;
}

absl::Status StepBuffers::Read(const ReadSlots& read, int64_t position, int64_t count,
                               Stream& stream) {
  if (count == 0 || !real_) return absl::OkStatus();
  RETURN_IF_ERROR(
      read(position, count,
           {.inputs = inputs_.host(), .targets = targets_.host(), .first_key = first_key_.host()}));
  const Range all{0, count * tokens_};
  inputs_.ToDevice(stream, all);
  targets_.ToDevice(stream, all);
  if (first_key_.device() != nullptr) first_key_.ToDevice(stream, all);
  return absl::OkStatus();
}

MicroBatch StepBuffers::Batch(Range range) const {
  const int64_t at = range.begin * tokens_;
  return {.slots = range.size(),
          .inputs = inputs_.device() + at,
          .targets = targets_.device() + at,
          .first_key = first_key_.device() == nullptr ? nullptr : first_key_.device() + at};
}

RowIds StepBuffers::Ids(Range range) const {
  const int32_t* ids = inputs_.host();
  return {.ids = ids == nullptr ? nullptr : ids + range.begin * tokens_,
          .n = range.size() * tokens_};
}

void StepBuffers::FetchLosses(int64_t slots, Stream& stream) const {
  losses_.ToHost(stream, {0, slots * tokens_});
}

void StepBuffers::FetchNorms(size_t count, Stream& stream) const {
  norms_.ToHost(stream, {0, static_cast<int64_t>(count)});
}

ExactSum StepBuffers::LossSum(int64_t count) const {
  ExactSum sum;
  for (int64_t slot = 0; slot < (real_ ? count : 0); ++slot) {
    const float* losses = losses_.host() + slot * tokens_;
    double slot_sum = 0;
    for (int64_t t = 0; t < tokens_; ++t) slot_sum += losses[t];
    sum.Add(slot_sum);
  }
  return sum;
}

int64_t StepBuffers::CountedTokens(int64_t count) const {
  if (!real_) return count * tokens_;
  int64_t counted = 0;
  for (int64_t i = 0; i < count * tokens_; ++i) counted += targets_.host()[i] >= 0;
  return counted;
}

std::vector<ExactSum> StepBuffers::Norms(size_t count) const {
  if (!real_) return std::vector<ExactSum>(count);
  return {norms_.host(), norms_.host() + count};
}

void StepBuffers::ClearNorms(size_t count, Stream& stream) {
  if (!real_) return;
  std::fill_n(norms_.host(), count, ExactSum{});
  norms_.ToDevice(stream, {0, static_cast<int64_t>(count)});
}

void StepBuffers::SetGradScale(float value, Stream& stream) {
  if (!real_) return;
  *grad_scale_.host() = value;
  grad_scale_.ToDevice(stream, {0, 1});
}

}  // namespace blockstep
