// Part of mpi_communicator_test: `control` and `data` of an MPI process beside each other.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "core/device/fifo_stream.h"
#include "tests/dist/communicator_suite.h"
#include "tests/dist/mpi_test_runtime.h"

namespace blockstep {
namespace {

using namespace std::chrono_literals;

// True unless it takes so long that it must be taken for never: longer than a call may take.
bool Reached(const Event& event) {
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  while (!event.done() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(1ms);
  }
  return event.done();
}

// Issued on every rank; each brings its number.
struct Numbers {
  explicit Numbers(Communicator& c) : all(c.size(), -1) {
    GatherSegment segment{.base = all.data()};
    for (int r = 0; r <= c.size(); ++r) segment.offsets.push_back(r * sizeof(int));
    all[c.rank()] = c.rank();
    c.AllGather({segment}, "numbers");
    end = c.stream().Record();
  }
  void ExpectThere() const {
    std::vector<int> want(all.size());
    std::iota(want.begin(), want.end(), 0);
    EXPECT_EQ(all, want);
  }
  std::vector<int> all;
  Event end;
};

// The rank whose call comes when everybody has seen the others' wait.
bool Late(const RankGroup& group) { return group.rank() == group.size() - 1; }

TEST(MpiLanes, ControlGetsOnWhileDataWaitsForALatePeer) {
  const RankGroup group = runtime->group();
  std::unique_ptr<Numbers> data;
  if (!Late(group)) data = std::make_unique<Numbers>(*group.data);
  const Numbers control(*group.control);
  EXPECT_TRUE(Reached(control.end));
  control.ExpectThere();
  if (!Late(group)) {
    EXPECT_FALSE(data->end.done());
    EXPECT_TRUE(group.data->progress().running);
    EXPECT_EQ(group.data->progress().what, "numbers");
  }
  EXPECT_FALSE(group.control->progress().running);
  group.control->Barrier("seen by all");
  EXPECT_TRUE(Reached(group.control->stream().Record()));
  if (Late(group)) data = std::make_unique<Numbers>(*group.data);
  ASSERT_TRUE(group.data->stream().Synchronize().ok()) << group.data->stream().status();
  ASSERT_TRUE(group.control->stream().Synchronize().ok()) << group.control->stream().status();
  data->ExpectThere();
}

// Each rank has pieces that the others wait for: data must get on where control waits.
TEST(MpiLanes, DataGetsOnWhileControlWaitsForALatePeer) {
  const RankGroup group = runtime->group();
  const int n = group.size();
  std::vector<int64_t> offsets(n + 1, 0);
  for (int r = 0; r < n; ++r) offsets[r + 1] = offsets[r] + 700'000;
  std::vector<float> in(offsets.back(), static_cast<float>(group.rank() + 1)), out(700'000);

  std::unique_ptr<Numbers> control;
  if (!Late(group)) control = std::make_unique<Numbers>(*group.control);
  group.data->ReduceScatter({{in.data(), out.data(), offsets}}, "large");
  EXPECT_TRUE(Reached(group.data->stream().Record()));
  EXPECT_EQ(out, std::vector<float>(out.size(), static_cast<float>(n * (n + 1) / 2)));
  if (!Late(group)) {
    EXPECT_FALSE(control->end.done());
    EXPECT_TRUE(group.control->progress().running);
  }
  group.data->Barrier("seen by all");
  EXPECT_TRUE(Reached(group.data->stream().Record()));
  if (Late(group)) control = std::make_unique<Numbers>(*group.control);
  ASSERT_TRUE(group.control->stream().Synchronize().ok()) << group.control->stream().status();
  ASSERT_TRUE(group.data->stream().Synchronize().ok()) << group.data->stream().status();
  control->ExpectThere();
}

TEST(MpiLanes, ControlGetsOnWhileDataWaitsForCompute) {
  const RankGroup group = runtime->group();
  ThreadPool pool(1);
  std::promise<void> gate;
  FifoStream compute("compute", &pool);
  compute.Run([&] { gate.get_future().wait(); });
  group.data->stream().Wait(compute.Record());
  const Numbers data(*group.data);
  const Numbers control(*group.control);
  EXPECT_TRUE(Reached(control.end));
  control.ExpectThere();
  EXPECT_FALSE(data.end.done());
  gate.set_value();
  ASSERT_TRUE(group.data->stream().Synchronize().ok()) << group.data->stream().status();
  ASSERT_TRUE(group.control->stream().Synchronize().ok()) << group.control->stream().status();
  data.ExpectThere();
}

// As rows are fetched by id: lists over control, then what they ask for over data.
TEST(MpiLanes, DataMayWaitForControl) {
  const RankGroup group = runtime->group();
  for (int i = 0; i < 20; ++i) {
    const Numbers control(*group.control);
    group.data->stream().Wait(control.end);
    const Numbers data(*group.data);
    group.control->stream().Wait(data.end);
    const Numbers again(*group.control);
    ASSERT_TRUE(group.control->stream().Synchronize().ok()) << group.control->stream().status();
    EXPECT_TRUE(data.end.done());
    control.ExpectThere();
    data.ExpectThere();
    again.ExpectThere();
  }
}

// All cases on both at once; only one of the two splits, as Communicator asks.
TEST(MpiLanes, TheSuiteHoldsOnBothAtOnce) {
  const RankGroup group = runtime->group();
  std::thread data([&] {
    for (const CommunicatorCase& c : CommunicatorSuite()) c.body(*group.data);
  });
  for (const CommunicatorCase& c : CommunicatorSuite()) {
    if (c.name != "Split") c.body(*group.control);
  }
  data.join();
}

}  // namespace
}  // namespace blockstep
