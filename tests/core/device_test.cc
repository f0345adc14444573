#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#include "core/backends/backends.h"
#include "core/base/status.h"
#include "core/device/arena.h"
#include "core/device/fifo_stream.h"
#include "core/tensor/device_access.h"

namespace blockstep {
namespace {

using ::testing::HasSubstr;

TEST(Arena, CarvesAndCountsByClass) {
  Arena arena = Arena::Reserve(CpuBackend(), 1 << 20).value();
  char* a = static_cast<char*>(arena.Allocate(MemoryClass::kWeights, "w", 1000).value());
  const Arena::Mark mark = arena.GetMark();
  char* b = static_cast<char*>(arena.Allocate(MemoryClass::kState, "m", 1).value());
  EXPECT_EQ(b - a, 1024);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(a) % 256, 0u);
  EXPECT_EQ(arena.use().total, 1024 + 256);
  arena.ReleaseTo(mark);
  EXPECT_EQ(arena.use().total, 1024);
  const size_t state = static_cast<size_t>(MemoryClass::kState);
  EXPECT_EQ(arena.use().current[state], 0);
  EXPECT_EQ(arena.use().peak[state], 256);
  EXPECT_EQ(arena.use().total_peak, 1024 + 256);
  // The same place again.
  EXPECT_EQ(arena.Allocate(MemoryClass::kGradients, "g", 10).value(), b);
}

TEST(Arena, TheFarEndOutlivesMarks) {
  Arena arena = Arena::Reserve(CpuBackend(), 4096 + 100).value();
  const Arena::Mark mark = arena.GetMark();
  char* near = static_cast<char*>(arena.Allocate(MemoryClass::kState, "m", 1000).value());
  char* far = static_cast<char*>(arena.AllocateFar(MemoryClass::kStaging, "copy", 1000).value());
  EXPECT_EQ(far - near, 4096 - 1024);
  arena.ReleaseTo(mark);
  const size_t staging = static_cast<size_t>(MemoryClass::kStaging);
  EXPECT_EQ(arena.use().current[staging], 1024);
  EXPECT_EQ(arena.use().total, 1024);
  EXPECT_EQ(arena.use().total_peak, 2048);
  // Neither end may grow into the other.
  ASSERT_TRUE(arena.Allocate(MemoryClass::kState, "m", 3072).ok());
  EXPECT_FALSE(arena.Allocate(MemoryClass::kState, "v", 1).ok());
  const absl::Status status = arena.AllocateFar(MemoryClass::kStaging, "more", 1).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("staging  copy  1024"));
  arena.ReleaseFar();
  EXPECT_EQ(arena.use().current[staging], 0);
  EXPECT_EQ(arena.use().total, 3072);
  EXPECT_EQ(arena.AllocateFar(MemoryClass::kStaging, "copy", 256).value(), far + 768);
}

// `bytes` bytes of a backend's memory, as the host sees them.
std::string BytesAt(const Backend& backend, void* data, int64_t bytes) {
  ThreadPool pool(1);
  const auto stream = backend.device.new_compute_stream("read", &pool, 0);
  std::vector<char> buffer;
  const TensorView view = TensorView::Of(data, DType::kU8, 1, bytes);
  const DeviceAccess access{.backend = &backend, .stream = stream.get()};
  return std::string(access.Read(view, buffer).value(), bytes);
}

TEST(Arena, WhatGoesBackIsPoisonedOnGuarded) {
  Arena arena = Arena::Reserve(GuardedBackend(), 1 << 20).value();
  void* kept = arena.Allocate(MemoryClass::kWeights, "w", 256).value();
  const Arena::Mark mark = arena.GetMark();
  (void)arena.Allocate(MemoryClass::kState, "m", 256);
  (void)arena.Allocate(MemoryClass::kState, "v", 256);
  arena.ReleaseTo(mark);
  EXPECT_EQ(BytesAt(GuardedBackend(), kept, 1024),
            std::string(256, '\0') + std::string(512, '\xff') + std::string(256, '\0'));
}

TEST(Arena, AnErrorNamesTheRequestAndWhatIsThere) {
  Arena arena = Arena::Reserve(CpuBackend(), 4096).value();
  ASSERT_TRUE(arena.Allocate(MemoryClass::kGather, "layer buffer", 4000).ok());
  const absl::Status status = arena.Allocate(MemoryClass::kState, "m of x", 1).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  for (const char* part : {"m of x", "layer buffer", "gather", "4096", "256"}) {
    EXPECT_THAT(std::string(status.message()), HasSubstr(part));
  }
}

TEST(Devices, MemoryIsAlignedAndZero) {
  for (const Backend* backend : {&CpuBackend(), &GuardedBackend()}) {
    const int64_t bytes = 3 << 20;
    void* data = backend->device.reserve(bytes).value();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % (2 << 20), 0u);
    EXPECT_EQ(BytesAt(*backend, data, bytes), std::string(bytes, '\0'));
    backend->device.release(data, bytes);
    EXPECT_FALSE(backend->device.reserve(int64_t{1} << 60).ok());
  }
  EXPECT_FALSE(NullBackend().device.real_memory);
}

TEST(FifoStream, KeepsOrderAndReturnsAtOnce) {
  ThreadPool pool(1);
  FifoStream stream("s", &pool, {.max_delay_us = 300, .seed = 3});
  std::vector<int> order;
  std::atomic<bool> release{false};
  stream.Run([&] {
    while (!release) std::this_thread::yield();
  });
  for (int i = 0; i < 20; ++i) stream.Run([&order, i] { order.push_back(i); });
  const Event end = stream.Record();
  EXPECT_FALSE(end.done());
  release = true;
  end.Block();
  EXPECT_TRUE(end.done());
  ASSERT_EQ(order.size(), 20u);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(order[i], i);
}

TEST(FifoStream, WaitOrdersAcrossStreams) {
  ThreadPool pool(1);
  FifoStream producer("p", &pool), consumer("c", &pool);
  int value = 0, seen = -1;  // not atomic: the event alone orders them (shown under TSan)
  producer.Run([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    value = 42;
  });
  consumer.Wait(producer.Record());
  consumer.Run([&] { seen = value; });
  ASSERT_TRUE(consumer.Synchronize().ok());
  EXPECT_EQ(seen, 42);
}

TEST(FifoStream, EndsAfterWhatWasHandedIn) {
  ThreadPool pool(1);
  std::atomic<int> ran{0};
  {
    FifoStream stream("s", &pool, {.max_delay_us = 100, .seed = 1});
    for (int i = 0; i < 10; ++i) stream.Run([&] { ++ran; });
  }
  EXPECT_EQ(ran, 10);
}

TEST(Stream, TheFirstFailureStaysAndEventsStillFire) {
  ThreadPool pool(1);
  InlineStream here("i", &pool);
  FifoStream there("f", &pool);
  for (HostStream* stream : {static_cast<HostStream*>(&here), static_cast<HostStream*>(&there)}) {
    std::atomic<bool> later{false};
    stream->RunFallible([] { return Unavailable("peer 3"); });
    stream->RunFallible([&] {
      later = true;
      return Unavailable("peer 4");
    });
    EXPECT_EQ(stream->Synchronize().message(), "peer 3");
    EXPECT_FALSE(later);
  }
}

TEST(Stream, PolledWorkIsCalledToItsEndBeforeWhatComesNext) {
  ThreadPool pool(1);
  InlineStream here("i", &pool);
  FifoStream there("f", &pool);
  for (HostStream* stream : {static_cast<HostStream*>(&here), static_cast<HostStream*>(&there)}) {
    int calls = 0, calls_before_next = 0;
    stream->RunPolled([&]() -> absl::StatusOr<Polled> {
      ++calls;
      return calls == 200 ? Polled::kDone : calls % 3 == 0 ? Polled::kProgress : Polled::kWaiting;
    });
    stream->Run([&] { calls_before_next = calls; });
    EXPECT_TRUE(stream->Synchronize().ok());
    EXPECT_EQ(calls_before_next, 200);
    stream->RunPolled([] { return Unavailable("peer 3"); });
    stream->RunPolled([&]() -> absl::StatusOr<Polled> {
      ++calls;
      return Polled::kDone;
    });
    EXPECT_EQ(stream->Synchronize().message(), "peer 3");
    EXPECT_EQ(calls, 200);
  }
}

TEST(Event, OfAHostStreamTellsWhoAsked) {
  ThreadPool pool(1);
  FifoStream stream("f", &pool);
  std::promise<void> gate;
  stream.Run([&] { gate.get_future().wait(); });
  const Event event = stream.Record();
  std::atomic<int> before{0}, after{0};
  EXPECT_TRUE(event.state()->Then([&] { ++before; }));
  EXPECT_EQ(before, 0);
  gate.set_value();
  ASSERT_TRUE(stream.Synchronize().ok());  // by a later event: the calls have been made
  EXPECT_EQ(before, 1);
  EXPECT_TRUE(event.state()->Then([&] { ++after; }));
  EXPECT_EQ(after, 1);
  EXPECT_EQ(before, 1);
}

TEST(Event, ADefaultOneIsDone) {
  Event event;
  EXPECT_TRUE(event.done());
  event.Block();
}

}  // namespace
}  // namespace blockstep
