// A backend is a plain struct of function pointers: memory and streams here, arithmetic in
// core/ops/kernel_table.h, collectives through the communicator factory. Three exist: cpu, null (no
// arithmetic: counts), guarded (cpu kernels, late, on memory that the host cannot touch).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/device/stream.h"

namespace blockstep {

class Communicator;  // dist/communicator.h
struct KernelTable;  // core/ops/kernel_table.h
struct CommunicatorSpec;

enum class CopyDirection : uint8_t { kToDevice, kToHost };

// Rows of bytes between host and device memory; a pitch is the distance of two rows in bytes, not
// read where there is one row.
struct HostCopy {
  CopyDirection direction = CopyDirection::kToDevice;
  void* device = nullptr;
  int64_t device_pitch = 0;
  void* host = nullptr;
  int64_t host_pitch = 0;
  int64_t row_bytes = 0;
  int64_t rows = 0;
};

struct DeviceFunctions {
  // One contiguous range of `bytes`, 2 MiB aligned, zero-filled on first touch where it is real.
  absl::StatusOr<void*> (*reserve)(int64_t bytes);
  void (*release)(void* data, int64_t bytes);
  // `index` tells streams of one rank apart (seeds of delays).
  std::unique_ptr<Stream> (*new_compute_stream)(const std::string& name, ThreadPool* pool,
                                                uint64_t index);
  // Ordered on `stream`; the host's memory must stay valid until an event recorded later has been
  // reached. Memory of allocate_host moves without staging.
  void (*copy)(Stream& stream, const HostCopy& copy);
  absl::StatusOr<void*> (*allocate_host)(int64_t bytes);
  void (*free_host)(void* data, int64_t bytes);
  // Host can read and write what `reserve` gave.
  bool host_accessible = true;
  // Memory behind `reserve` exists; false on null: nothing may be read or written.
  bool real_memory = true;
  // (optional) Fills a range whose contents are dead, so that a late reader shows. Null: does
  // nothing.
  void (*poison)(Stream& stream, void* data, int64_t bytes) = nullptr;
};

struct Backend {
  // Changes whenever this struct or KernelTable does; a module with another value is refused.
  static constexpr uint64_t kVersion = 2;
  uint64_t version = kVersion;
  const char* name = "";
  DeviceFunctions device;
  const KernelTable* kernels = nullptr;
  // (optional) A backend's own collectives; null: dist chooses.
  absl::StatusOr<std::unique_ptr<Communicator>> (*make_communicator)(const CommunicatorSpec&) =
      nullptr;
};

// `bytes` without gaps; ordered like DeviceFunctions::copy.
inline void CopyToDevice(const Backend& backend, Stream& stream, void* device, const void* host,
                         int64_t bytes) {
  backend.device.copy(stream, {.direction = CopyDirection::kToDevice,
                               .device = device,
                               .host = const_cast<void*>(host),  // read only in this direction
                               .row_bytes = bytes,
                               .rows = 1});
}
inline void CopyToHost(const Backend& backend, Stream& stream, void* host, const void* device,
                       int64_t bytes) {
  backend.device.copy(stream, {.direction = CopyDirection::kToHost,
                               .device = const_cast<void*>(device),
                               .host = host,
                               .row_bytes = bytes,
                               .rows = 1});
}

// Memory and stream functions of the built-in backends (kernels are joined in
// core/backends/backends.h).
DeviceFunctions CpuDeviceFunctions();
DeviceFunctions NullDeviceFunctions();
DeviceFunctions GuardedDeviceFunctions();  // core/device/guarded_device.h

}  // namespace blockstep
