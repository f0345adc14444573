// The two lanes of the thread that makes MPI calls, without MPI.
#include "dist/mpi/mpi_thread.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/base/status.h"
#include "core/device/fifo_stream.h"

namespace blockstep {
namespace {

using ::testing::ElementsAre;
using namespace std::chrono_literals;

// True unless it takes so long that it must be taken for never.
bool Soon(const std::function<bool()>& happened) {
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  while (!happened()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}
bool Reached(const Event& event) {
  return Soon([&] { return event.done(); });
}

// As a call that waits for a peer: done when `flag` says so.
PolledWork Until(const std::atomic<bool>& flag) {
  return [&flag]() -> absl::StatusOr<Polled> { return flag ? Polled::kDone : Polled::kWaiting; };
}

// An event that the test fires; counts who looks. As those of another backend if it does not ring.
class TestEvent : public Event::State {
 public:
  explicit TestEvent(bool rings) : rings_(rings) {}
  bool done() const override {
    ++looks_;
    return done_;
  }
  void Block() const override { FAIL() << "the thread has another lane to look after"; }
  bool Then(std::function<void()> then) override {
    if (rings_) then_ = std::move(then);
    asked_ = true;
    return rings_;
  }
  void Fire() {
    done_ = true;
    if (then_) then_();
  }
  bool asked() const { return asked_; }
  int looks() const { return looks_; }

 private:
  const bool rings_;
  mutable std::atomic<int> looks_{0};
  std::atomic<bool> done_{false}, asked_{false};
  std::function<void()> then_;
};

// What holds for either lane beside the other.
class Lanes : public testing::TestWithParam<bool> {
 protected:
  HostStream& lane() { return GetParam() ? thread_.control() : thread_.data(); }
  HostStream& other() { return GetParam() ? thread_.data() : thread_.control(); }

  MpiThread thread_;
};
INSTANTIATE_TEST_SUITE_P(MpiThread, Lanes, testing::Bool(), [](const auto& info) {
  return std::string(info.param ? "Control" : "Data");
});

TEST_P(Lanes, RunsInOrderAndReturnsAtOnce) {
  std::atomic<bool> flag{false};
  std::vector<int> order;
  lane().Run([&] { order.push_back(1); });
  lane().RunPolled(Until(flag));
  lane().Run([&] { order.push_back(2); });
  lane().RunFallible([&] {
    order.push_back(3);
    return absl::OkStatus();
  });
  const Event end = lane().Record();
  EXPECT_FALSE(end.done());
  flag = true;
  ASSERT_TRUE(Reached(end));
  EXPECT_THAT(order, ElementsAre(1, 2, 3));
}

TEST_P(Lanes, GetsOnWhileTheOtherWaitsForAPeer) {
  std::atomic<bool> late{false}, soon{false};
  other().RunPolled(Until(late));
  const Event waiting = other().Record();
  bool got_on = true;
  for (int i = 0; i < 20 && got_on; ++i) {
    soon = false;
    lane().RunPolled(Until(soon));
    soon = true;
    got_on = Reached(lane().Record());
  }
  EXPECT_TRUE(got_on);
  EXPECT_FALSE(waiting.done());
  late = true;
  EXPECT_TRUE(Reached(waiting));
}

TEST_P(Lanes, GetsOnWhileTheOtherWaitsForCompute) {
  ThreadPool pool(1);
  std::promise<void> gate;
  FifoStream compute("compute", &pool);
  compute.Run([&] { gate.get_future().wait(); });
  other().Wait(compute.Record());
  const Event waiting = other().Record();
  EXPECT_TRUE(Reached(lane().Record()));
  EXPECT_FALSE(waiting.done());
  gate.set_value();
  EXPECT_TRUE(Reached(waiting));
}

TEST_P(Lanes, MayWaitForTheOther) {
  std::atomic<bool> flag{false};
  int value = 0, seen = -1;  // not atomic: the event alone orders them
  other().RunPolled(Until(flag));
  other().Run([&] { value = 42; });
  lane().Wait(other().Record());
  lane().Run([&] { seen = value; });
  other().Wait(lane().Record());
  const Event end = other().Record();
  EXPECT_FALSE(end.done());
  flag = true;
  ASSERT_TRUE(Reached(end));
  EXPECT_EQ(seen, 42);
}

TEST_P(Lanes, SleepsUntilAnEventRings) {
  const auto state = std::make_shared<TestEvent>(true);
  lane().Wait(Event(state));
  const Event end = lane().Record();
  EXPECT_TRUE(Soon([&] { return state->asked(); }));
  EXPECT_TRUE(Reached(other().Record()));
  const int looks = state->looks();
  std::this_thread::sleep_for(100ms);  // time for hundreds of looks, had the thread any reason
  EXPECT_LE(state->looks(), looks + 2);
  EXPECT_FALSE(end.done());
  state->Fire();
  EXPECT_TRUE(Reached(end));
}

TEST_P(Lanes, LooksAtAnEventThatCannotRing) {
  const auto state = std::make_shared<TestEvent>(false);
  lane().Wait(Event(state));
  const Event end = lane().Record();
  EXPECT_TRUE(Soon([&] { return state->asked(); }));
  EXPECT_TRUE(Reached(other().Record()));
  EXPECT_FALSE(end.done());
  state->Fire();
  EXPECT_TRUE(Reached(end));
}

TEST_P(Lanes, KeepsItsFirstFailure) {
  bool later = false;
  lane().RunFallible([] { return Unavailable("peer 3"); });
  lane().RunFallible([] { return Unavailable("peer 4"); });
  lane().RunPolled([&]() -> absl::StatusOr<Polled> {
    later = true;
    return Polled::kDone;
  });
  EXPECT_EQ(lane().Synchronize().message(), "peer 3");
  EXPECT_FALSE(later);
  EXPECT_TRUE(other().Synchronize().ok());  // no call of MPI has failed
}

TEST_P(Lanes, AFailedCallEndsTheCallsOfBoth) {
  std::atomic<bool> fails{false}, never{false};
  bool ran = false;
  lane().RunPolled([&]() -> absl::StatusOr<Polled> {
    if (fails) return Unavailable("peer 3");
    return Polled::kWaiting;
  });
  other().RunPolled(Until(never));
  other().Run([&] { ran = true; });
  EXPECT_TRUE(other().status().ok());
  const Event end = other().Record();
  fails = true;
  EXPECT_EQ(lane().Synchronize().message(), "peer 3");
  EXPECT_TRUE(Reached(end));
  never = true;
  EXPECT_EQ(other().Synchronize().message(), "peer 3");
  EXPECT_TRUE(ran);
}

TEST(MpiThread, EndsAfterWhatWasHandedInToEitherLane) {
  ThreadPool pool(1);
  for (const bool data_waits : {false, true}) {
    std::atomic<int> ran{0};
    std::promise<void> gate;
    FifoStream compute("compute", &pool);
    compute.Run([&] { gate.get_future().wait(); });
    std::thread opens;
    {
      MpiThread thread;
      (data_waits ? thread.data() : thread.control()).Wait(compute.Record());
      for (int i = 0; i < 10; ++i) {
        thread.data().Run([&] { ++ran; });
        thread.control().Run([&] { ++ran; });
      }
      opens = std::thread([&] {
        EXPECT_TRUE(Soon([&] { return ran == 10; }));  // those of the other lane
        std::this_thread::sleep_for(50ms);             // time to end too early
        gate.set_value();
      });
    }
    EXPECT_EQ(ran, 20);
    opens.join();
  }
}

// An event may fire while the thread that waited for it ends.
TEST(MpiThread, AnEventMayOutliveIt) {
  ThreadPool pool(1);
  FifoStream compute("compute", &pool);
  for (int i = 0; i < 200; ++i) {
    MpiThread thread;
    thread.data().Wait(compute.Record());
  }
}

}  // namespace
}  // namespace blockstep
