// What the guarded backend refuses, and that it says so: host code on device memory, host memory
// among an op's operands, either on the wrong side of a copy, views beyond their reservation.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "core/backends/guarded_kernels.h"
#include "core/device/arena.h"
#include "core/device/host_stream.h"
#include "tests/core/device_array.h"
#include "tests/sanitized.h"

namespace blockstep {
namespace {

constexpr int64_t kCount = 8;

class GuardedTest : public ::testing::Test {
 protected:
  GuardedTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }

  DeviceArray<float> Floats(float value) {
    return DeviceArray<float>(device_, std::vector<float>(kCount, value));
  }
  static TensorView View(float* data, int64_t cols = kCount) {
    return TensorView::Of(data, DType::kF32, 1, cols);
  }
  void Add(TensorView src, TensorView dst) {
    device_.kernels().add(*device_.stream, {.src = src, .dst = dst});
  }
  // One row of kCount floats.
  void Copy(CopyDirection direction, void* device, void* host) {
    constexpr int64_t kBytes = kCount * 4;
    device_.backend->device.copy(*device_.stream, {.direction = direction,
                                                   .device = device,
                                                   .device_pitch = kBytes,
                                                   .host = host,
                                                   .host_pitch = kBytes,
                                                   .row_bytes = kBytes,
                                                   .rows = 1});
  }

  Device device_{"guarded"};
  float host_[kCount] = {};
};

TEST_F(GuardedTest, OpsAndCopiesReachTheMemory) {
  const DeviceArray<float> a = Floats(2), b = Floats(3);
  Add(View(a.data()), View(b.data()));
  EXPECT_EQ(b.Read(), std::vector<float>(kCount, 5));
  EXPECT_EQ(a.Read(), std::vector<float>(kCount, 2));
  // Inside a reservation.
  DeviceArray<float> c = Floats(0);
  c.Write(2, {1, 2});
  Add(View(c.data() + 2, 2), View(c.data() + 5, 2));
  EXPECT_EQ(c.Read(), (std::vector<float>{0, 0, 1, 2, 0, 1, 2, 0}));
}

TEST_F(GuardedTest, CopiesAndOpsRunInTheStreamsOrder) {
  DeviceArray<float> a = Floats(1);
  const DeviceArray<float> b = Floats(1);
  std::atomic<bool> open{false};
  OnHost(*device_.stream).Run([&open] {
    while (!open) std::this_thread::yield();
  });
  Copy(CopyDirection::kToDevice, a.data(), host_);
  Add(View(a.data()), View(b.data()));
  float after[kCount] = {};
  Copy(CopyDirection::kToHost, b.data(), after);
  EXPECT_EQ(after[0], 0);
  std::fill_n(host_, kCount, 4.0f);  // what the first copy finds when it runs
  open = true;
  ASSERT_TRUE(device_.stream->Synchronize().ok());
  EXPECT_EQ(after[0], 5);
  EXPECT_EQ(after[kCount - 1], 5);
}

TEST_F(GuardedTest, HostCodeThatTouchesTheArenaFaults) {
  Arena arena = Arena::Reserve(GuardedBackend(), 1 << 20).value();
  volatile float* data =
      static_cast<float*>(arena.Allocate(MemoryClass::kWeights, "w", 256).value());
  const auto write = [data] { *data = 1; };
  const auto read = [data] { std::exit(*data == 0 ? 0 : 1); };
  if (testing::kSanitized) {  // which catches the signal and says so
    EXPECT_DEATH(write(), "SEGV");
    EXPECT_DEATH(read(), "SEGV");
  } else {
    EXPECT_EXIT(write(), ::testing::KilledBySignal(SIGSEGV), "");
    EXPECT_EXIT(read(), ::testing::KilledBySignal(SIGSEGV), "");
  }
}

TEST_F(GuardedTest, HostMemoryIsNoOperand) {
  const DeviceArray<float> a = Floats(1);
  EXPECT_DEATH(
      Add(View(host_), View(a.data())),
      "add: src: expected device memory, got 0x[0-9a-f]+, which no live reservation holds");
  EXPECT_DEATH(Add(View(a.data()), View(host_)), "add: dst: expected device memory, got 0x");
  // A pointer that is no view.
  const TensorView v = View(a.data());
  EXPECT_DEATH(device_.kernels().adamw(
                   *device_.stream, {.param = v, .grad = v, .m = v, .v = v, .grad_scale = host_}),
               "adamw: grad_scale: expected device memory, got 0x");
  ExactSum sum;
  EXPECT_DEATH(device_.kernels().squared_norm(*device_.stream, {.x = v, .sum = &sum}),
               "squared_norm: sum: expected device memory, got 0x");
}

TEST_F(GuardedTest, NullStaysNull) {
  const DeviceArray<float> x = Floats(1), rstd = Floats(0);
  device_.kernels().rms_norm_forward(*device_.stream,
                                     {.x = View(x.data()), .rstd = View(rstd.data(), 1), .eps = 0});
  EXPECT_EQ(rstd.Read()[0], 1);
}

TEST_F(GuardedTest, EachSideOfACopyIsWhatItSays) {
  const DeviceArray<float> a = Floats(1), b = Floats(1);
  for (const CopyDirection direction : {CopyDirection::kToDevice, CopyDirection::kToHost}) {
    const bool in = direction == CopyDirection::kToDevice;
    const std::string name = in ? "copy to the device: " : "copy to the host: ";
    EXPECT_DEATH(Copy(direction, a.data(), b.data()),
                 name + "host side: expected host memory, got device memory at 0x");
    // Only its last byte is device memory.
    EXPECT_DEATH(Copy(direction, a.data(), reinterpret_cast<char*>(b.data()) - kCount * 4 + 1),
                 name + "host side: expected host memory, got device memory at 0x");
    float other[kCount] = {};
    EXPECT_DEATH(Copy(direction, other, host_),
                 name + "device side: expected device memory, got 0x");
    EXPECT_DEATH(Copy(direction, a.data() + 1, host_),
                 name + "device side: expected 32 bytes of device memory, got 28 before the end");
  }
}

TEST_F(GuardedTest, AViewEndsWithinItsReservation) {
  const DeviceArray<float> a = Floats(1), b = Floats(1);
  const TensorView whole = View(a.data());
  Add(whole.Cols(kCount, kCount), View(b.data(), 0));  // empty, at the very end
  EXPECT_DEATH(Add(View(a.data() + 1), whole),
               "add: src: expected 32 bytes of device memory, got 28 before the end");
  EXPECT_DEATH(Add(whole, View(a.data(), kCount + 1)),
               "add: dst: expected 36 bytes of device memory, got 32 before the end");
  // Rows a stride apart: the last one counts with its columns only.
  TensorView rows = {a.data(), DType::kF32, 2, 3, 5};
  Add(rows, {b.data(), DType::kF32, 2, 3, 5});
  rows.ld = 6;
  EXPECT_DEATH(Add(rows, rows),
               "add: src: expected 36 bytes of device memory, got 32 before the end");
  // Ids, as many as there are rows.
  const DeviceArray<int32_t> ids(device_, {0, 0, 0});
  const TensorView table = {a.data(), DType::kF32, 1, 2, 2}, out = {b.data(), DType::kF32, 4, 2, 2};
  EXPECT_DEATH(device_.kernels().embedding_forward(*device_.stream,
                                                   {.table = table, .ids = ids.data(), .out = out}),
               "embedding_forward: ids: expected 16 bytes of device memory, got 12 before the end");
}

TEST_F(GuardedTest, WhatWasReleasedIsNoDeviceMemory) {
  float* data;
  {
    const DeviceArray<float> a = Floats(1);
    data = a.data();
  }
  EXPECT_DEATH(Add(View(data), View(data)), "add: src: expected device memory, got 0x");
}

// Each thread its own arena, as ranks of one process have.
TEST_F(GuardedTest, ReservationsOfManyThreads) {
  std::vector<std::thread> ranks;
  std::atomic<int> right{0};
  for (int rank = 0; rank < 4; ++rank) {
    ranks.emplace_back([&right, rank] {
      Device device("guarded");
      for (int i = 0; i < 20; ++i) {
        const std::vector<float> values(kCount, static_cast<float>(100 * rank + i));
        const DeviceArray<float> a(device, values), b(device, std::vector<float>(kCount, 0));
        device.kernels().add(*device.stream, {.src = View(a.data()), .dst = View(b.data())});
        right += b.Read() == values;
      }
    });
  }
  for (std::thread& rank : ranks) rank.join();
  EXPECT_EQ(right, 4 * 20);
}

const KernelTable& OneOp() {
  static const KernelTable table = {.add = CpuBackend().kernels->add};
  return table;
}

TEST(GuardedKernels, WrapsEveryOpThatTheBaseHas) {
  const auto* cpu = reinterpret_cast<void* const*>(CpuBackend().kernels);
  const auto* guarded = reinterpret_cast<void* const*>(GuardedBackend().kernels);
  int same = 0;
  for (size_t i = 0; i < sizeof(KernelTable) / sizeof(void*); ++i) same += cpu[i] == guarded[i];
  EXPECT_EQ(same, 3) << "packed_bytes, attention_scratch_bytes, attention_stats_bytes";
  const KernelTable& one = GuardedKernels<OneOp>();
  EXPECT_NE(one.add, nullptr);
  EXPECT_EQ(one.copy, nullptr);
}

}  // namespace
}  // namespace blockstep
