// One reservation of device memory, carved by name and class. Nothing else on the step path
// allocates. What lives for the run is carved first; what lives for a phase is carved after a Mark
// and given back to it at the one host fence of a switch.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/device/backend.h"

namespace blockstep {

// Of every block, in bytes.
constexpr int64_t kArenaAlignment = 256;

enum class MemoryClass {
  kWeights,    // owned rows of sharded units
  kPinned,     // whole units kept resident (the owner's rows lie inside)
  kGather,     // buffers units are gathered into
  kGradients,  // dW of train entries: local sums and the owner's reduced rows
  kSlotProbe,  // slot_exact's stack of dW buffers; dW of probes
  kState,      // optimizer state
  kActivations,
  kWorkspace,
  kStaging,        // checkpoint copies
  kCommunication,  // what collectives send from and receive into, beyond kGather
  kData,           // tokens, losses
  kCount,
};
std::string_view MemoryClassName(MemoryClass c);

struct MemoryUse {
  std::array<int64_t, static_cast<size_t>(MemoryClass::kCount)> current{};
  std::array<int64_t, static_cast<size_t>(MemoryClass::kCount)> peak{};  // each class by itself
  int64_t total = 0;
  int64_t total_peak = 0;
};

class Arena {
 public:
  static absl::StatusOr<Arena> Reserve(const Backend& backend, int64_t bytes);
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&&) = delete;
  ~Arena();

  // `bytes` rounded up to kArenaAlignment and aligned to it. An error names the request and
  // everything that is carved already. Contents are what the last user left.
  absl::StatusOr<void*> Allocate(MemoryClass cls, std::string name, int64_t bytes);

  // Everything carved after Mark() goes back at ReleaseTo(mark). Without `user` the caller has
  // fenced all streams; with it, `user` is the only stream whose work still reads or writes that
  // memory, and the first one that will again. A backend that poisons shows it where not.
  struct Mark {
    size_t blocks;
  };
  Mark GetMark() const { return {blocks_.size()}; }
  void ReleaseTo(Mark mark, Stream* user = nullptr);

  // The same from the far end of the reservation: outlives marks, so that a save goes on over a
  // switch. All of it goes back at once; the caller has ended whoever reads it.
  absl::StatusOr<void*> AllocateFar(MemoryClass cls, std::string name, int64_t bytes);
  void ReleaseFar();

  const MemoryUse& use() const { return use_; }
  std::string Table() const;  // one line per block: class, name, bytes

 private:
  struct Block {
    MemoryClass cls;
    std::string name;
    int64_t offset, bytes;
  };
  Arena(const Backend& backend, void* base, int64_t capacity)
      : backend_(&backend), base_(base), capacity_(capacity) {}

  const Backend* backend_;
  void* base_;
  int64_t capacity_;
  absl::Status CheckFits(MemoryClass cls, const std::string& name, int64_t bytes) const;
  void Count(MemoryClass cls, int64_t bytes);

  int64_t top_ = 0, far_ = 0;  // bytes carved from either end
  std::vector<Block> blocks_, far_blocks_;
  MemoryUse use_;
};

}  // namespace blockstep
