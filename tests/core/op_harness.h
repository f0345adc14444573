// What op tests share: matrices with random contents in both precisions, a backend with a stream
// and a pool, and comparison against a bound whose used share is printed.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "core/backends/backends.h"
#include "core/base/math.h"
#include "core/base/philox.h"
#include "tests/core/reference.h"

namespace blockstep {

inline constexpr double kUnit = 0x1p-24;  // rounding error of one fp32 operation

// An fp32 matrix whose rows are `ld` apart; what lies between rows must stay as it is.
class Buffer {
 public:
  Buffer(int64_t rows, int64_t cols, int64_t pad = 0)
      : rows_(rows), cols_(cols), ld_(cols + pad), data_(rows * ld_ + 1, kGuard) {}
  Buffer(const reference::Mat& m, int64_t pad = 0) : Buffer(m.rows, m.cols, pad) {
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t c = 0; c < cols_; ++c) data_[r * ld_ + c] = static_cast<float>(m(r, c));
    }
  }
  // Every element NaN: shows elements that `=` forgets, and old contents that are read.
  static Buffer Poisoned(int64_t rows, int64_t cols, int64_t pad = 0) {
    return Buffer(reference::Mat(rows, cols, std::numeric_limits<double>::quiet_NaN()), pad);
  }
  TensorView view() { return {data_.data(), DType::kF32, rows_, cols_, ld_}; }
  float* data() { return data_.data(); }
  reference::Mat mat() const {
    reference::Mat m(rows_, cols_);
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t c = 0; c < cols_; ++c) m(r, c) = data_[r * ld_ + c];
    }
    return m;
  }
  bool GuardsIntact() const {
    for (int64_t i = 0; i < static_cast<int64_t>(data_.size()); ++i) {
      if ((i / ld_ >= rows_ || i % ld_ >= cols_) && data_[i] != kGuard) return false;
    }
    return true;
  }
  bool SameBits(const Buffer& other) const {
    return data_.size() == other.data_.size() &&
           std::memcmp(data_.data(), other.data_.data(), data_.size() * sizeof(float)) == 0;
  }

 private:
  static constexpr float kGuard = 12345.0f;
  int64_t rows_, cols_, ld_;
  std::vector<float> data_;
};

// Standard normal values rounded to fp32, so that both precisions start from the same numbers.
inline reference::Mat RandomMat(int64_t rows, int64_t cols, uint64_t seed, double scale = 1) {
  reference::Mat m(rows, cols);
  for (size_t i = 0; i < m.v.size(); ++i) {
    m.v[i] = static_cast<float>(scale * NormalPair(Draw(seed, RandomUse::kTest, 0, i))[0]);
  }
  return m;
}

// |got - want| <= bound, element by element; prints the largest share of the bound that was used.
inline void ExpectWithin(const char* what, const reference::Mat& got, const reference::Mat& want,
                         const reference::Mat& bound) {
  ASSERT_EQ(got.v.size(), want.v.size()) << what;
  double share = 0;
  for (size_t i = 0; i < got.v.size(); ++i) {
    const double error = std::fabs(got.v[i] - want.v[i]);
    ASSERT_LE(error, bound.v[i]) << what << " element " << i << ": " << got.v[i] << ", wanted "
                                 << want.v[i];
    ASSERT_FALSE(std::isnan(error)) << what << " element " << i << ": " << got.v[i];
    if (bound.v[i] > 0) share = std::max(share, error / bound.v[i]);
  }
  std::printf("    %-28s %5.1f %% of its bound\n", what, 100 * share);
}
// Relative to each element, plus `absolute`.
inline void ExpectRelative(const char* what, const reference::Mat& got, const reference::Mat& want,
                           double units, double absolute = 0) {
  ExpectWithin(what, got, want, reference::Map(want, [&](double x) {
                 return units * kUnit * std::fabs(x) + absolute;
               }));
}

struct Device {
  explicit Device(const char* name = "cpu", int threads = 1)
      : pool(threads),
        backend(FindBackend(name).value()),
        stream(backend->device.new_compute_stream("test", &pool, 7)) {}
  const KernelTable& kernels() const { return *backend->kernels; }

  ThreadPool pool;
  const Backend* backend;
  std::unique_ptr<Stream> stream;
};

// A test for the cpu backend with 1 and 3 threads, and for async with 2.
struct DeviceParam {
  const char* backend;
  int threads;
};
class OpTest : public ::testing::TestWithParam<DeviceParam> {
 protected:
  Device device_{GetParam().backend, GetParam().threads};
  const KernelTable& kernels_ = device_.kernels();
  Stream& stream_ = *device_.stream;
  void Sync() { ASSERT_TRUE(stream_.Synchronize().ok()); }
};
#define BLOCKSTEP_OP_SUITE(Suite)                                                               \
  INSTANTIATE_TEST_SUITE_P(                                                                     \
      Devices, Suite,                                                                           \
      ::testing::Values(DeviceParam{"cpu", 1}, DeviceParam{"cpu", 3}, DeviceParam{"async", 2}), \
      [](const auto& info) {                                                                    \
        return std::string(info.param.backend) + std::to_string(info.param.threads);            \
      })

}  // namespace blockstep
