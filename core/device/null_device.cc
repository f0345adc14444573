#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "core/base/status.h"
#include "core/device/backend.h"
#include "core/device/host_stream.h"

namespace blockstep {
namespace {

// Address space without memory: every pointer is distinct and any access is a fault.
absl::StatusOr<void*> ReserveAddresses(int64_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) {
    return ResourceExhausted("address space: mmap of ", bytes,
                             " bytes failed: ", std::strerror(errno));
  }
  return data;
}

void ReleaseAddresses(void* data, int64_t bytes) { munmap(data, bytes); }

std::unique_ptr<Stream> NewInline(const std::string& name, ThreadPool* pool, uint64_t) {
  return std::make_unique<InlineStream>(name, pool);
}

void CopyNothing(Stream&, const HostCopy&) {}

}  // namespace

DeviceFunctions NullDeviceFunctions() {
  return {.reserve = ReserveAddresses,
          .release = ReleaseAddresses,
          .new_compute_stream = NewInline,
          .copy = CopyNothing,
          .allocate_host = ReserveAddresses,
          .free_host = ReleaseAddresses,
          .host_accessible = false,
          .real_memory = false};
}

}  // namespace blockstep
