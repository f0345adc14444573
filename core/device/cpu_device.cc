#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "core/base/math.h"
#include "core/base/status.h"
#include "core/device/backend.h"
#include "core/device/fifo_stream.h"

namespace blockstep {
namespace {

constexpr int64_t kHugePage = int64_t{2} << 20;

// Maps a little more than asked and unmaps the ends, so that the range starts on a huge page.
absl::StatusOr<void*> ReserveHost(int64_t bytes) {
  const int64_t rounded = RoundUp(bytes, kHugePage);
  void* raw = mmap(nullptr, rounded + kHugePage, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) {
    return ResourceExhausted("memory: mmap of ", rounded, " bytes failed: ", std::strerror(errno));
  }
  char* base = static_cast<char*>(raw);
  char* aligned = reinterpret_cast<char*>(RoundUp(reinterpret_cast<intptr_t>(base), kHugePage));
  if (aligned != base) munmap(base, aligned - base);
  char* end = base + rounded + kHugePage;
  if (aligned + rounded != end) munmap(aligned + rounded, end - (aligned + rounded));
  madvise(aligned, rounded, MADV_HUGEPAGE);  // advice only: a kernel without it changes nothing
  return aligned;
}

void ReleaseHost(void* data, int64_t bytes) { munmap(data, RoundUp(bytes, kHugePage)); }

std::unique_ptr<Stream> NewInline(const std::string& name, ThreadPool* pool, uint64_t) {
  return std::make_unique<InlineStream>(name, pool);
}

std::unique_ptr<Stream> NewDelayed(const std::string& name, ThreadPool* pool, uint64_t index) {
  return std::make_unique<FifoStream>(name, pool, FifoOptions{.max_delay_us = 200, .seed = index});
}

void CopyRows(Stream& stream, const HostCopy& c) {
  OnHost(stream).Run([c] {
    char* device = static_cast<char*>(c.device);
    char* host = static_cast<char*>(c.host);
    const bool in = c.direction == CopyDirection::kToDevice;
    for (int64_t r = 0; r < c.rows; ++r) {
      char* at = device + r * c.device_pitch;
      char* beside = host + r * c.host_pitch;
      std::memcpy(in ? at : beside, in ? beside : at, static_cast<size_t>(c.row_bytes));
    }
  });
}

void PoisonHost(Stream& stream, void* data, int64_t bytes) {
  OnHost(stream).Run([data, bytes] { std::memset(data, 0xff, bytes); });  // 0xffffffff is a NaN
}

}  // namespace

DeviceFunctions CpuDeviceFunctions() {
  return {.reserve = ReserveHost,
          .release = ReleaseHost,
          .new_compute_stream = NewInline,
          .copy = CopyRows,
          .allocate_host = ReserveHost,
          .free_host = ReleaseHost};
}

DeviceFunctions AsyncDeviceFunctions() {
  return {.reserve = ReserveHost,
          .release = ReleaseHost,
          .new_compute_stream = NewDelayed,
          .copy = CopyRows,
          .allocate_host = ReserveHost,
          .free_host = ReleaseHost,
          .poison = PoisonHost};
}

}  // namespace blockstep
