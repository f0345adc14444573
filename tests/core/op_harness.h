// What op tests share: matrices of a device with random contents in both precisions, and comparison
// against a bound whose used share is printed.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "core/base/math.h"
#include "core/base/philox.h"
#include "tests/core/device_array.h"
#include "tests/core/reference.h"

namespace blockstep {

inline constexpr double kUnit = 0x1p-24;  // rounding error of one fp32 operation

// An fp32 matrix in device memory whose rows are `ld` apart; what lies between rows must stay as it
// is. A copy is a matrix of its own on the same device.
class Buffer {
 public:
  Buffer(Device& device, int64_t rows, int64_t cols, int64_t pad = 0)
      : Buffer(device, reference::Mat(rows, cols, kGuard), pad) {}
  Buffer(Device& device, const reference::Mat& m, int64_t pad = 0)
      : rows_(m.rows), cols_(m.cols), ld_(m.cols + pad), array_(device, Padded(m, pad)) {}
  // Every element NaN: shows elements that `=` forgets, and old contents that are read.
  static Buffer Poisoned(Device& device, int64_t rows, int64_t cols, int64_t pad = 0) {
    return Buffer(device, reference::Mat(rows, cols, std::numeric_limits<double>::quiet_NaN()),
                  pad);
  }
  TensorView view() const { return {data(), DType::kF32, rows_, cols_, ld_}; }
  float* data() const { return array_.data(); }
  void Set(int64_t element, float value) { array_.Write(element, {value}); }
  // As it lies in memory: what is between rows too.
  std::vector<float> values() const { return array_.Read(); }
  reference::Mat mat() const {
    const std::vector<float> all = values();
    reference::Mat m(rows_, cols_);
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t c = 0; c < cols_; ++c) m(r, c) = all[r * ld_ + c];
    }
    return m;
  }
  bool GuardsIntact() const {
    const std::vector<float> all = values();
    for (int64_t i = 0; i < static_cast<int64_t>(all.size()); ++i) {
      if ((i / ld_ >= rows_ || i % ld_ >= cols_) && all[i] != kGuard) return false;
    }
    return true;
  }
  bool SameBits(const Buffer& other) const {
    const std::vector<float> mine = values(), theirs = other.values();
    return mine.size() == theirs.size() &&
           std::memcmp(mine.data(), theirs.data(), mine.size() * sizeof(float)) == 0;
  }

 private:
  static constexpr float kGuard = 12345.0f;
  static std::vector<float> Padded(const reference::Mat& m, int64_t pad) {
    const int64_t ld = m.cols + pad;
    std::vector<float> all(m.rows * ld + 1, kGuard);
    for (int64_t r = 0; r < m.rows; ++r) {
      for (int64_t c = 0; c < m.cols; ++c) all[r * ld + c] = static_cast<float>(m(r, c));
    }
    return all;
  }
  int64_t rows_, cols_, ld_;
  DeviceArray<float> array_;
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

// A test for the cpu backend with 1 and 3 threads, and for guarded with 2.
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
#define BLOCKSTEP_OP_SUITE(Suite)                                                                 \
  INSTANTIATE_TEST_SUITE_P(                                                                       \
      Devices, Suite,                                                                             \
      ::testing::Values(DeviceParam{"cpu", 1}, DeviceParam{"cpu", 3}, DeviceParam{"guarded", 2}), \
      [](const auto& info) {                                                                      \
        return std::string(info.param.backend) + std::to_string(info.param.threads);              \
      })

}  // namespace blockstep
