// The few ops that dist uses, as plain loops over the real devices: every access is visible to
// ThreadSanitizer, and dist's tests do not depend on the kernels' own.
#pragma once

#include <cstring>

#include "core/device/backend.h"
#include "core/device/fifo_stream.h"
#include "core/device/host_stream.h"
#include "core/ops/kernel_table.h"

namespace blockstep {

inline const KernelTable& PlainKernels() {
  static const KernelTable table = [] {
    KernelTable k;
    k.copy = [](Stream& s, const CopyArgs& a) {
      CHECK(a.src.rows == a.dst.rows && a.src.cols == a.dst.cols);
      OnHost(s).Run([a] {
        for (int64_t r = 0; r < a.src.rows; ++r) {
          for (int64_t c = 0; c < a.src.cols; ++c) a.dst.f32(r)[c] = a.src.f32(r)[c];
        }
      });
    };
    k.add = [](Stream& s, const AddArgs& a) {
      CHECK(a.src.rows == a.dst.rows && a.src.cols == a.dst.cols);
      OnHost(s).Run([a] {
        for (int64_t r = 0; r < a.src.rows; ++r) {
          for (int64_t c = 0; c < a.src.cols; ++c) a.dst.f32(r)[c] += a.src.f32(r)[c];
        }
      });
    };
    k.fill = [](Stream& s, const FillArgs& a) {
      OnHost(s).Run([a] {
        for (int64_t r = 0; r < a.dst.rows; ++r) {
          for (int64_t c = 0; c < a.dst.cols; ++c) a.dst.f32(r)[c] = a.value;
        }
      });
    };
    k.embedding_forward = [](Stream& s, const EmbeddingForwardArgs& a) {
      OnHost(s).Run([a] {
        for (int64_t i = 0; i < a.out.rows; ++i) {
          for (int64_t c = 0; c < a.out.cols; ++c) a.out.f32(i)[c] = a.table.f32(a.ids[i])[c];
        }
      });
    };
    return k;
  }();
  return table;
}

// Ops of a device without memory.
inline const KernelTable& IgnoringKernels() {
  static const KernelTable table = [] {
    KernelTable k;
    k.copy = [](Stream&, const CopyArgs&) {};
    k.add = [](Stream&, const AddArgs&) {};
    k.fill = [](Stream&, const FillArgs&) {};
    k.embedding_forward = [](Stream&, const EmbeddingForwardArgs&) {};
    return k;
  }();
  return table;
}

inline Backend PlainCpu() {
  return {.name = "cpu", .device = CpuDeviceFunctions(), .kernels = &PlainKernels()};
}
// The same on threads that are late at random, with dead ranges poisoned, for missing waits. Tests
// look into its memory, which `guarded` would not let them.
inline Backend PlainDelayed() {
  DeviceFunctions device = CpuDeviceFunctions();
  device.new_compute_stream = [](const std::string& name, ThreadPool* pool,
                                 uint64_t index) -> std::unique_ptr<Stream> {
    return std::make_unique<FifoStream>(name, pool,
                                        FifoOptions{.max_delay_us = 200, .seed = index});
  };
  device.poison = [](Stream& stream, void* data, int64_t bytes) {
    OnHost(stream).Run([=] { std::memset(data, 0xff, static_cast<size_t>(bytes)); });
  };
  return {.name = "delayed", .device = device, .kernels = &PlainKernels()};
}
inline Backend PlainNull() {
  return {.name = "null", .device = NullDeviceFunctions(), .kernels = &IgnoringKernels()};
}

}  // namespace blockstep
