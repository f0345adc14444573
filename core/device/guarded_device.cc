#include "core/device/guarded_device.h"

#include <cstring>
#include <map>
#include <mutex>
#include <shared_mutex>

#include "core/base/check.h"
#include "core/base/status.h"
#include "core/device/backend.h"
#include "core/device/fifo_stream.h"
#include "core/device/mapping.h"

namespace blockstep {
namespace {

[[noreturn]] void Refuse(const AddressUse& use, const std::string& what) {
  internal::CheckFailed(__FILE__, __LINE__, Cat(use.op, ": ", use.operand, ": ", what));
}

struct Reservation {
  const char* begin;  // of the addresses
  int64_t bytes;
  char* memory;
};

// All that live in this process: ranks are threads, each with an arena of its own.
class Reservations {
 public:
  void Add(const Reservation& r) {
    std::lock_guard lock(mutex_);
    by_begin_[r.begin] = r;
  }
  Reservation Remove(const void* begin) {
    std::lock_guard lock(mutex_);
    const auto found = by_begin_.find(static_cast<const char*>(begin));
    CHECK(found != by_begin_.end());
    const Reservation r = found->second;
    by_begin_.erase(found);
    return r;
  }
  // That begins last at or before `address`; bytes 0: none does.
  Reservation Before(const void* address) const {
    std::shared_lock lock(mutex_);
    const auto after = by_begin_.upper_bound(static_cast<const char*>(address));
    return after == by_begin_.begin() ? Reservation{} : std::prev(after)->second;
  }

 private:
  mutable std::shared_mutex mutex_;
  std::map<const char*, Reservation> by_begin_;
};

Reservations& Live() {
  static Reservations& live = *new Reservations;  // outlives whatever static object releases last
  return live;
}

absl::StatusOr<void*> Reserve(int64_t bytes) {
  ASSIGN_OR_RETURN(char* begin, MapRange(bytes, MappingAccess::kNone));
  const absl::StatusOr<char*> memory = MapRange(bytes, MappingAccess::kReadWrite);
  if (!memory.ok()) {
    UnmapRange(begin, bytes);
    return memory.status();
  }
  Live().Add({begin, bytes, *memory});
  return begin;
}

void Release(void* data, int64_t bytes) {
  const Reservation r = Live().Remove(data);
  CHECK_EQ(r.bytes, bytes);
  UnmapRange(data, bytes);
  UnmapRange(r.memory, bytes);
}

std::unique_ptr<Stream> NewDelayed(const std::string& name, ThreadPool* pool, uint64_t index) {
  return std::make_unique<FifoStream>(name, pool, FifoOptions{.max_delay_us = 200, .seed = index});
}

// From the first byte of `rows` rows to the last.
int64_t Extent(int64_t rows, int64_t row_bytes, int64_t pitch) {
  return (rows - 1) * pitch + row_bytes;
}

void Copy(Stream& stream, const HostCopy& copy) {
  if (copy.rows == 0 || copy.row_bytes == 0) return;
  const bool in = copy.direction == CopyDirection::kToDevice;
  const std::string_view name = in ? "copy to the device" : "copy to the host";
  CHECK(copy.device != nullptr && copy.host != nullptr);
  const char* last =
      static_cast<const char*>(copy.host) + Extent(copy.rows, copy.row_bytes, copy.host_pitch) - 1;
  const Reservation r = Live().Before(last);
  if (r.bytes > 0 && static_cast<const char*>(copy.host) < r.begin + r.bytes) {
    Refuse({name, "host side"}, Cat("expected host memory, got device memory at ", copy.host));
  }
  HostCopy at_memory = copy;
  at_memory.device = GuardedMemory(
      copy.device, Extent(copy.rows, copy.row_bytes, copy.device_pitch), {name, "device side"});
  CpuDeviceFunctions().copy(stream, at_memory);
}

void Poison(Stream& stream, void* data, int64_t bytes) {
  OnHost(stream).Run([memory = GuardedMemory(data, bytes, {"poison", "range"}), bytes] {
    std::memset(memory, 0xff, bytes);  // 0xffffffff is a NaN
  });
}

}  // namespace

void* GuardedMemory(const void* address, int64_t bytes, const AddressUse& use) {
  if (address == nullptr) return nullptr;
  const Reservation r = Live().Before(address);
  const int64_t offset = r.bytes > 0 ? static_cast<const char*>(address) - r.begin : 0;
  // An empty view may lie at the very end.
  if (r.bytes == 0 || offset > r.bytes || (offset == r.bytes && bytes > 0)) {
    Refuse(use, Cat("expected device memory, got ", address, ", which no live reservation holds"));
  }
  if (offset + bytes > r.bytes) {
    Refuse(use, Cat("expected ", bytes, " bytes of device memory, got ", r.bytes - offset,
                    " before the end of the reservation"));
  }
  return r.memory + offset;
}

DeviceFunctions GuardedDeviceFunctions() {
  const DeviceFunctions host = CpuDeviceFunctions();
  return {.reserve = Reserve,
          .release = Release,
          .new_compute_stream = NewDelayed,
          .copy = Copy,
          .allocate_host = host.allocate_host,
          .free_host = host.free_host,
          .host_accessible = false,
          .poison = Poison};
}

}  // namespace blockstep
