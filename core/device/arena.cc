#include "core/device/arena.h"

#include <algorithm>

#include "core/base/math.h"
#include "core/base/status.h"
#include "core/device/host_stream.h"

namespace blockstep {

std::string_view MemoryClassName(MemoryClass c) {
  static constexpr std::string_view kNames[] = {
      "weights",     "pinned",    "gather",  "gradients",     "slot/probe", "state",
      "activations", "workspace", "staging", "communication", "data"};
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
      far_(other.far_),
      blocks_(std::move(other.blocks_)),
      far_blocks_(std::move(other.far_blocks_)),
      use_(other.use_) {}

Arena::~Arena() {
  if (base_ != nullptr) backend_->device.release(base_, capacity_);
}

absl::Status Arena::CheckFits(MemoryClass cls, const std::string& name, int64_t bytes) const {
  if (top_ + far_ + bytes <= capacity_ / kArenaAlignment * kArenaAlignment) return absl::OkStatus();
  return ResourceExhausted("memory plan: ", MemoryClassName(cls), " '", name, "' needs ", bytes,
                           " bytes, ", capacity_ - top_ - far_, " of ", capacity_,
                           " left; allocated:\n", Table());
}

void Arena::Count(MemoryClass cls, int64_t bytes) {
  const size_t c = static_cast<size_t>(cls);
  use_.current[c] += bytes;
  use_.peak[c] = std::max(use_.peak[c], use_.current[c]);
  use_.total = top_ + far_;
  use_.total_peak = std::max(use_.total_peak, use_.total);
}

absl::StatusOr<void*> Arena::Allocate(MemoryClass cls, std::string name, int64_t bytes) {
  const int64_t rounded = RoundUp(std::max<int64_t>(bytes, 1), kArenaAlignment);
  RETURN_IF_ERROR(CheckFits(cls, name, rounded));
  blocks_.push_back({cls, std::move(name), top_, rounded});
  void* data = static_cast<char*>(base_) + top_;
  top_ += rounded;
  Count(cls, rounded);
  return data;
}

absl::StatusOr<void*> Arena::AllocateFar(MemoryClass cls, std::string name, int64_t bytes) {
  const int64_t rounded = RoundUp(std::max<int64_t>(bytes, 1), kArenaAlignment);
  RETURN_IF_ERROR(CheckFits(cls, name, rounded));
  far_ += rounded;
  const int64_t offset = capacity_ / kArenaAlignment * kArenaAlignment - far_;
  far_blocks_.push_back({cls, std::move(name), offset, rounded});
  Count(cls, rounded);
  return static_cast<char*>(base_) + offset;
}

void Arena::ReleaseTo(Mark mark, Stream* user) {
  if (backend_->device.poison != nullptr && blocks_.size() > mark.blocks) {
    // Without a user not in any stream's order: work that the caller did not fence reads it.
    ThreadPool alone(1);
    InlineStream at_once("poison", &alone);
    const int64_t begin = blocks_[mark.blocks].offset;
    backend_->device.poison(user == nullptr ? at_once : *user, static_cast<char*>(base_) + begin,
                            top_ - begin);
  }
  while (blocks_.size() > mark.blocks) {
    const Block& block = blocks_.back();
    top_ = block.offset;
    Count(block.cls, -block.bytes);
    blocks_.pop_back();
  }
}

void Arena::ReleaseFar() {
  for (const Block& block : far_blocks_) {
    far_ -= block.bytes;
    Count(block.cls, -block.bytes);
  }
  far_blocks_.clear();
}

std::string Arena::Table() const {
  std::string table;
  for (const std::vector<Block>* blocks : {&blocks_, &far_blocks_}) {
    for (const Block& b : *blocks) {
      table += Cat("  ", MemoryClassName(b.cls), "  ", b.name, "  ", b.bytes, "\n");
    }
  }
  return table;
}

}  // namespace blockstep
