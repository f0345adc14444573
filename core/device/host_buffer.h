// Host memory that a device copies from and to without staging (pinned, on a GPU).
#pragma once

#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"
#include "core/device/backend.h"

namespace blockstep {

class HostBuffer {
 public:
  HostBuffer() = default;
  // RESOURCE_EXHAUSTED where there is not that much.
  static absl::StatusOr<HostBuffer> Allocate(const Backend& backend, int64_t bytes) {
    absl::StatusOr<void*> data = backend.device.allocate_host(bytes);
    if (!data.ok()) return data.status();
    return HostBuffer(backend, *data, bytes);
  }
  HostBuffer(HostBuffer&& other) noexcept { *this = std::move(other); }
  HostBuffer& operator=(HostBuffer&& other) noexcept {
    std::swap(backend_, other.backend_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~HostBuffer() {
    if (data_ != nullptr) backend_->device.free_host(data_, bytes_);
  }

  void* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  HostBuffer(const Backend& backend, void* data, int64_t bytes)
      : backend_(&backend), data_(data), bytes_(bytes) {}

  const Backend* backend_ = nullptr;
  void* data_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace blockstep
