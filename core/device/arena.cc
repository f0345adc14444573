#include "core/device/arena.h"

#include <algorithm>

#include "core/base/math.h"
#include "core/base/status.h"

namespace blockstep {

std::string_view MemoryClassName(MemoryClass c) {
  static constexpr std::string_view kNames[] = {
      "weights",   "pinned",         "gather",  "gradients", "slot/probe", "state", "activations",
      "workspace", "packed weights", "staging", "transport", "carry bits", "data"};
  return kNames[static_cast<size_t>(c)];
}

absl::StatusOr<Arena> Arena::Reserve(const Backend& backend, int64_t bytes) {
  ASSIGN_OR_RETURN(void* base, backend.device.reserve(bytes));
  return Arena(backend, base, bytes);
}

Arena::Arena(Arena&& other) noexcept
    : backend_(other.backend_),
      base_(std::exchange(other.base_, nullptr)),
      capacity_(other.capacity_),
      top_(other.top_),
      blocks_(std::move(other.blocks_)),
      use_(other.use_) {}

Arena::~Arena() {
  if (base_ != nullptr) backend_->device.release(base_, capacity_);
}

absl::StatusOr<void*> Arena::Allocate(MemoryClass cls, std::string name, int64_t bytes) {
  const int64_t rounded = RoundUp(std::max<int64_t>(bytes, 1), 256);
  if (top_ + rounded > capacity_) {
    return ResourceExhausted("memory plan: ", MemoryClassName(cls), " '", name, "' wants ", rounded,
                             " bytes, ", capacity_ - top_, " of ", capacity_,
                             " are left; carved:\n", Table());
  }
  blocks_.push_back({cls, std::move(name), top_, rounded});
  void* data = static_cast<char*>(base_) + top_;
  top_ += rounded;
  const size_t c = static_cast<size_t>(cls);
  use_.current[c] += rounded;
  use_.peak[c] = std::max(use_.peak[c], use_.current[c]);
  use_.total = top_;
  use_.total_peak = std::max(use_.total_peak, top_);
  return data;
}

void Arena::ReleaseTo(Mark mark) {
  while (blocks_.size() > mark.blocks) {
    const Block& block = blocks_.back();
    use_.current[static_cast<size_t>(block.cls)] -= block.bytes;
    top_ = block.offset;
    blocks_.pop_back();
  }
  use_.total = top_;
}

std::string Arena::Table() const {
  std::string table;
  for (const Block& b : blocks_) {
    table += Cat("  ", MemoryClassName(b.cls), "  ", b.name, "  ", b.bytes, "\n");
  }
  return table;
}

}  // namespace blockstep
