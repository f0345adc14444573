// A backend with a stream and a pool, and arrays in its memory that tests fill and read.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "core/backends/backends.h"
#include "core/base/status.h"
#include "core/tensor/device_access.h"

namespace blockstep {

struct Device {
  explicit Device(const char* name = "cpu", int threads = 1)
      : pool(threads),
        backend(FindBackend(name).value()),
        stream(backend->device.new_compute_stream("test", &pool, 7)) {}
  const KernelTable& kernels() const { return *backend->kernels; }
  DeviceAccess access() const { return {.backend = backend, .stream = stream.get()}; }

  ThreadPool pool;
  const Backend* backend;
  std::unique_ptr<Stream> stream;
};

// Elements in a reservation of their own, so that a backend that checks addresses knows the ends of
// each operand. All work on the device's stream must have run when an array ends.
template <typename T>
class DeviceArray {
 public:
  DeviceArray(Device& device, const std::vector<T>& values)
      : device_(&device), count_(static_cast<int64_t>(values.size())) {
    auto data = device.backend->device.reserve(reserved());
    CHECK_OK(data);
    data_ = static_cast<T*>(*data);
    Write(0, values);
  }
  DeviceArray(const DeviceArray& other) : DeviceArray(*other.device_, other.Read()) {}
  DeviceArray(DeviceArray&& other) noexcept
      : device_(other.device_), count_(other.count_), data_(std::exchange(other.data_, nullptr)) {}
  DeviceArray& operator=(const DeviceArray&) = delete;
  ~DeviceArray() {
    if (data_ != nullptr) device_->backend->device.release(data_, reserved());
  }

  T* data() const { return data_; }  // on the device
  int64_t size() const { return count_; }

  // Both after all work on the stream.
  void Write(int64_t first, const std::vector<T>& values) {
    if (values.empty()) return;
    std::vector<T> host = values;
    Copy(CopyDirection::kToDevice, data_ + first, host);
  }
  std::vector<T> Read() const {
    std::vector<T> host(static_cast<size_t>(count_));
    if (count_ > 0) Copy(CopyDirection::kToHost, data_, host);
    return host;
  }

 private:
  int64_t reserved() const { return std::max<int64_t>(1, count_ * int64_t{sizeof(T)}); }
  void Copy(CopyDirection direction, T* device, std::vector<T>& host) const {
    const int64_t bytes = static_cast<int64_t>(host.size() * sizeof(T));
    device_->backend->device.copy(*device_->stream, {.direction = direction,
                                                     .device = device,
                                                     .device_pitch = bytes,
                                                     .host = host.data(),
                                                     .host_pitch = bytes,
                                                     .row_bytes = bytes,
                                                     .rows = 1});
    CHECK_OK(device_->stream->Synchronize());
  }

  Device* device_;
  int64_t count_;
  T* data_ = nullptr;
};

}  // namespace blockstep
