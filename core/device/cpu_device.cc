#include <cstring>

#include "core/device/backend.h"
#include "core/device/host_stream.h"
#include "core/device/mapping.h"

namespace blockstep {
namespace {

absl::StatusOr<void*> ReserveHost(int64_t bytes) {
  return MapRange(bytes, MappingAccess::kReadWrite);
}

std::unique_ptr<Stream> NewInline(const std::string& name, ThreadPool* pool, uint64_t) {
  return std::make_unique<InlineStream>(name, pool);
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

}  // namespace

DeviceFunctions CpuDeviceFunctions() {
  return {.reserve = ReserveHost,
          .release = UnmapRange,
          .new_compute_stream = NewInline,
          .copy = CopyRows,
          .allocate_host = ReserveHost,
          .free_host = UnmapRange};
}

}  // namespace blockstep
