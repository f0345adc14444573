// Host memory beside a small range of device memory that both sides write and read: the range
// itself where the host can reach it, else a pinned copy that moves on request.
#pragma once

#include "core/base/math.h"
#include "core/device/host_buffer.h"

namespace blockstep {

template <typename T>
class HostMirror {
 public:
  HostMirror() = default;
  // Of `count` elements at `device`. Without memory behind it (null) host() is null and moves do
  // nothing.
  static absl::StatusOr<HostMirror> Create(const Backend& backend, void* device, int64_t count) {
    HostMirror mirror;
    mirror.backend_ = &backend;
    mirror.device_ = static_cast<T*>(device);
    if (backend.device.host_accessible) mirror.host_ = mirror.device_;
    if (backend.device.host_accessible || !backend.device.real_memory) return mirror;
    absl::StatusOr<HostBuffer> buffer =
        HostBuffer::Allocate(backend, count * static_cast<int64_t>(sizeof(T)));
    if (!buffer.ok()) return buffer.status();
    mirror.buffer_ = *std::move(buffer);
    mirror.host_ = static_cast<T*>(mirror.buffer_.data());
    return mirror;
  }

  T* device() const { return device_; }
  T* host() const { return host_; }

  // Elements [begin, end), ordered on `stream`. Until an event recorded later has been reached, the
  // host neither writes what moves to the device nor reads what moves to it.
  void ToDevice(Stream& stream, Range elements) const {
    if (!moves(elements)) return;
    CopyToDevice(*backend_, stream, device_ + elements.begin, host_ + elements.begin,
                 BytesOf(elements));
  }
  void ToHost(Stream& stream, Range elements) const {
    if (!moves(elements)) return;
    CopyToHost(*backend_, stream, host_ + elements.begin, device_ + elements.begin,
               BytesOf(elements));
  }

 private:
  bool moves(Range elements) const { return buffer_.data() != nullptr && !elements.empty(); }
  static int64_t BytesOf(Range elements) {
    return elements.size() * static_cast<int64_t>(sizeof(T));
  }

  const Backend* backend_ = nullptr;
  T* device_ = nullptr;
  T* host_ = nullptr;
  HostBuffer buffer_;
};

}  // namespace blockstep
