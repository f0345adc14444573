// The watchdog over a communicator and a coordinator that are played: what is a hang, and what the
// report says. Waits are bounded generously; none is compared with a clock.
#include "launcher/train/watchdog/watchdog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "core/base/status.h"
#include "core/base/trace.h"

namespace blockstep::testing {
namespace {

using ::testing::HasSubstr;

constexpr double kLease = 0.2;

struct Watched : WatchdogOptions, WatchedRun {};

// A watchdog that looks at a run from its first moment on.
struct Watching {
  explicit Watching(const Watched& options) : watchdog(options) { watchdog.Watch(options); }
  Watchdog watchdog;
};

// Rank 1 of three, in a call that began at the start of the test.
class WatchdogTest : public ::testing::Test {
 protected:
  void SetUp() override {
    training.step = 41;
    training.stage = RunStage::kStep;
    comm = {.sequence = 17,
            .op = "all-gather",
            .what = "layer 3",
            .running = true,
            .since_ns = Tracer::Now()};
    peers = {Peer(0), Peer(1), Peer(2)};
  }

  static PeerState Peer(int rank) {
    return {.rank = rank,
            .host = "h",
            .step = 41,
            .stage = RunStage::kStep,
            .op = "all-gather \"layer 3\"",
            .sequence = 17};
  }

  Watched Options() {
    return {{.rank = 1,
             .on_hang = [this](const std::string& text) { report.set_value(text); },
             .lease_s = kLease,
             .patience_s = 0.4,
             .limit_s = 1e9,
             .compute_limit_s = 1e9,
             .look_s = 0.01},
            {.training = &training,
             .progress =
                 [this] {
                   std::lock_guard lock(mutex);
                   return comm;
                 },
             .peers = [this](double) -> absl::StatusOr<std::vector<PeerState>> {
               std::lock_guard lock(mutex);
               ++asked;
               if (unreachable) return Unavailable("no answer from h:1");
               return peers;
             },
             .tell =
                 [this](int64_t step, RunStage, const CommProgress&) {
                   told = step;
                   ++looks;
                 }}};
  }

  // Returns when the watchdog has looked so many times more.
  void AwaitLooks(int64_t count) const {
    const int64_t until = looks + count;
    while (looks < until) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  // The report, or "" if the watchdog is content after several more answers.
  std::string Watch(const Watched& options) {
    std::future<std::string> reported = report.get_future();
    const Watching watching(options);
    const int64_t enough = asked + 12;
    while (reported.wait_for(std::chrono::milliseconds(10)) != std::future_status::ready) {
      if (asked >= enough) return "";
    }
    return reported.get();
  }

  std::mutex mutex;
  std::atomic<int64_t> disk_s{0};  // the clock of waits for the disk
  WatchedProgress training{.disk = DiskWatch([this] { return disk_s * 1'000'000'000; })};
  CommProgress comm;
  std::vector<PeerState> peers;
  bool unreachable = false;
  std::atomic<int64_t> asked{0}, told{-1}, looks{0};
  std::promise<std::string> report;
};

TEST_F(WatchdogTest, NamesTheLostRankAndWhatEveryoneDid) {
  peers[2].silent_s = 3 * kLease;
  peers[2].step = 40;
  peers[2].op = "exchange \"norms\"";
  peers[2].sequence = 15;
  const std::string text = Watch(Options());
  EXPECT_THAT(text, HasSubstr("rank 1: step 41: all-gather \"layer 3\" (call 17) has waited"));
  EXPECT_THAT(text,
              HasSubstr("rank 0 on h: step 41, last call all-gather \"layer 3\" (call 17)\n"));
  EXPECT_THAT(text, HasSubstr("rank 2 on h: step 40, last call exchange \"norms\" (call 15); LOST: "
                              "silent for 0.6 s"));
  EXPECT_EQ(told, 41);
}

// docs/errors.md says 0.6 of the lease, so that the report comes before it ends.
TEST_F(WatchdogTest, ARankIsLostAfterSixTenthsOfTheLease) {
  peers[2].silent_s = 0.59 * kLease;
  EXPECT_EQ(Watch(Options()), "");
  report = {};
  peers[2].silent_s = 0.61 * kLease;
  EXPECT_THAT(Watch(Options()), HasSubstr("LOST: silent for"));
}

TEST_F(WatchdogTest, SaysWhatARankDoesOutsideItsStep) {
  training.stage = RunStage::kSave;
  peers[0].stage = RunStage::kDisk;
  peers[0].left = "ends the wait";
  const std::string text = Watch(Options());
  EXPECT_THAT(text, HasSubstr("rank 1: step 41, save: all-gather"));
  EXPECT_THAT(text, HasSubstr("rank 0 on h: step 41, waiting for its disk, last call"));
}

TEST_F(WatchdogTest, ARankThatLeftIsLost) {
  peers[0].left = "disk full";
  EXPECT_THAT(Watch(Options()), HasSubstr("LEFT: disk full"));
}

TEST_F(WatchdogTest, SpeaksAtOnceWhenTheLauncherEndsTheRun) {
  Watched options = Options();
  options.lease_s = 1e9;
  options.ending = [] { return true; };
  peers[2].connected = false;
  EXPECT_THAT(Watch(options), HasSubstr("(call 17); its connection is CLOSED"));
}

TEST_F(WatchdogTest, IsSilentWhenARankThatSaidWhyEndsTheRun) {
  Watched options = Options();
  options.ending = [] { return true; };
  peers[2].connected = false;
  peers[2].left = "DATA_LOSS: token file";
  EXPECT_EQ(Watch(options), "");
}

TEST_F(WatchdogTest, WaitsForARankThatIsMerelyBehind) {
  peers[2].sequence = 3;
  EXPECT_EQ(Watch(Options()), "");
}

TEST_F(WatchdogTest, OneSilentAnswerIsNotEnough) {
  Watched options = Options();
  options.peers = [this](double) -> absl::StatusOr<std::vector<PeerState>> {
    std::vector<PeerState> answer = peers;
    // As a coordinator that was away sees everyone at first.
    answer[2].silent_s = asked++ % 3 == 0 ? 10 * kLease : 0;
    return answer;
  };
  EXPECT_EQ(Watch(options), "");
}

TEST_F(WatchdogTest, NoAnswerForTooLong) {
  unreachable = true;
  Watched options = Options();
  options.lease_s = 0.04;  // asks often
  std::future<std::string> reported = report.get_future();
  const Watching watching(options);
  EXPECT_THAT(reported.get(),
              HasSubstr("last calls of the other ranks unknown: no answer from h:1"));
}

TEST_F(WatchdogTest, NoCallWaitsBeyondTheLimit) {
  Watched options = Options();
  options.limit_s = 0.3;
  EXPECT_THAT(Watch(options), HasSubstr("has waited"));
}

TEST_F(WatchdogTest, NobodyIsAskedWhileNothingWaits) {
  comm.running = false;
  peers[2].silent_s = 100;
  const Watching watching(Options());
  AwaitLooks(20);
  EXPECT_EQ(asked, 0);
}

// Says after 5 s of the disk's clock, gives up after 200 s.
Watched DiskOptions(Watched options, std::vector<std::string>& said) {
  options.on_disk_wait = [&said](const std::string& text) { said.push_back(text); };
  options.on_disk_stuck = options.on_hang;
  options.disk_say_s = 5;
  options.disk_limit_s = 200;
  return options;
}

TEST_F(WatchdogTest, SaysWhichFileIsWaitedForAndEndsTheWait) {
  comm.running = false;
  std::vector<std::string> said;
  Watched options = DiskOptions(Options(), said);
  std::atomic<RunStage> told_stage{RunStage::kStep};
  options.tell = [&](int64_t, RunStage stage, const CommProgress&) {
    told_stage = stage;
    ++disk_s;  // a second at every look
  };
  training.disk.Operation("fsync /run/model.safetensors");
  const DiskWatch::Wait wait(&training.disk, "the save of step 40");
  std::future<std::string> reported = report.get_future();
  std::string end;
  {
    const Watching watching(options);
    end = reported.get();
  }
  ASSERT_EQ(said.size(), 5u);  // at 6 s, then whenever the wait has more than doubled
  for (const std::string& text : {said[0], said[1], end}) {
    EXPECT_THAT(text, HasSubstr("rank 1: step 41: training has waited "));
    EXPECT_THAT(text, HasSubstr("for the save of step 40: fsync /run/model.safetensors (for "));
  }
  EXPECT_EQ(told_stage, RunStage::kDisk);
}

TEST_F(WatchdogTest, ASlowDiskThatGetsOnIsNotStuck) {
  comm.running = false;
  std::vector<std::string> said;
  const Watched options = DiskOptions(Options(), said);
  const DiskWatch::Wait wait(&training.disk, "the save of step 40");
  std::future<std::string> reported = report.get_future();
  const Watching watching(options);
  for (int i = 0; i < 10; ++i) {
    training.disk.Operation("write /run/model.safetensors");
    disk_s += 150;
    AwaitLooks(2);
  }
  EXPECT_EQ(reported.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  disk_s += 51;
  EXPECT_THAT(reported.get(), HasSubstr("write /run/model.safetensors (for 201.0 s)"));
}

TEST_F(WatchdogTest, AnOperationThatNobodyWaitsForMayTakeLong) {
  comm.running = false;
  std::vector<std::string> said;
  const Watched options = DiskOptions(Options(), said);
  training.disk.Operation("fsync /run/model.safetensors");
  std::future<std::string> reported = report.get_future();
  const Watching watching(options);
  disk_s += 1000;
  { const DiskWatch::Wait wait(&training.disk, "metrics"); }
  AwaitLooks(20);
  EXPECT_EQ(reported.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  EXPECT_TRUE(said.empty());
}

TEST_F(WatchdogTest, ARankThatWaitsForAnothersDiskDoesNotBlameItsOwn) {
  std::vector<std::string> said;
  const Watched options = DiskOptions(Options(), said);
  const DiskWatch::Wait wait(&training.disk, "the save of step 40");  // and comm.running
  std::future<std::string> reported = report.get_future();
  const Watching watching(options);
  disk_s += 1000;
  AwaitLooks(20);
  EXPECT_EQ(reported.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  EXPECT_TRUE(said.empty());
}

TEST_F(WatchdogTest, ACallThatEndsMeanwhileIsNoHang) {
  Watched options = Options();
  options.peers = [this](double) -> absl::StatusOr<std::vector<PeerState>> {
    std::lock_guard lock(mutex);
    if (++asked >= 5) comm.running = false;
    std::vector<PeerState> answer = peers;
    if (asked >= 3) answer[2].silent_s = 10 * kLease;
    return answer;
  };
  std::future<std::string> reported = report.get_future();
  const Watching watching(options);
  while (asked < 5) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  AwaitLooks(20);
  EXPECT_EQ(reported.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
}

// A clock that goes on by this much at every look, so that times below are counted looks.
constexpr double kTick = 0.01;

Watched ComputeOptions(Watched options, std::atomic<int64_t>& looks) {
  options.on_compute_stuck = options.on_hang;
  options.look_s = kTick / 10;
  options.now_s = [&looks] { return kTick * static_cast<double>(++looks); };
  return options;
}

// Computing goes nowhere, on a rank that may be the only one.
TEST_F(WatchdogTest, ReportsComputeThatGetsNowhere) {
  comm.running = false;
  std::atomic<int64_t> looks{0};
  Watched options = ComputeOptions(Options(), looks);
  options.compute_limit_s = 1;
  EXPECT_THAT(Watch(options), HasSubstr("rank 1: step 41: no progress in compute for 1.0 s; last "
                                        "call all-gather \"layer 3\" (call 17)"));
  EXPECT_GE(looks, 100);
  EXPECT_LE(looks, 110);
  EXPECT_EQ(asked, 0);
}

// After a step that took 0.39 s a later one has 20 times that, whatever the limit.
TEST_F(WatchdogTest, ASlowComputationHasTwentyTimesItsLongestSoFar) {
  comm.running = false;
  std::atomic<int64_t> looks{0};
  Watched options = ComputeOptions(Options(), looks);
  options.compute_limit_s = 0.5;
  options.tell = [&](int64_t, RunStage, const CommProgress&) {
    if (looks == 42) ++training.step;  // after the clock's first reading and 40 looks at step 41
  };
  EXPECT_THAT(Watch(options), HasSubstr("rank 1: step 42: no progress in compute for 7.8 s"));
}

// Each is progress enough: a step, a collective, a pass over data.
TEST_F(WatchdogTest, ComputeThatGetsOnIsNotStuck) {
  for (const int kind : {0, 1, 2}) {
    SCOPED_TRACE(kind);
    comm.running = false;
    std::atomic<int64_t> looks{0};
    std::atomic<bool> reported{false};
    Watched options = ComputeOptions(Options(), looks);
    options.compute_limit_s = 0.1;
    options.on_compute_stuck = [&](const std::string&) { reported = true; };
    options.tell = [&](int64_t, RunStage, const CommProgress&) {
      if (looks % 5 != 0) return;
      if (kind == 0) ++training.step;
      if (kind == 1) {
        std::lock_guard lock(mutex);
        ++comm.since_ns;
      }
      if (kind == 2) const DiskWatch::Wait read(&training.disk, "data");
    };
    const Watching watching(options);
    while (looks < 200 && !reported) std::this_thread::yield();
    EXPECT_FALSE(reported);
  }
}

// A start or a save has bounds of its own; a process that was stopped has not computed.
TEST_F(WatchdogTest, OnlyComputingIsTimedAndOnlyWhileThisProcessRuns) {
  for (const bool stopped : {false, true}) {
    SCOPED_TRACE(stopped);
    comm.running = false;
    training.stage = stopped ? RunStage::kStep : RunStage::kSave;
    std::atomic<int64_t> looks{0};
    std::atomic<bool> reported{false};
    Watched options = ComputeOptions(Options(), looks);
    options.compute_limit_s = 1;
    options.on_compute_stuck = [&](const std::string&) { reported = true; };
    if (stopped) {
      // An hour between two looks, once.
      options.now_s = [&looks] {
        return kTick * static_cast<double>(++looks) + (looks > 20 ? 3600 : 0);
      };
    }
    const Watching watching(options);
    while (looks < (stopped ? 60 : 200) && !reported) std::this_thread::yield();
    EXPECT_FALSE(reported);
  }
}

TEST_F(WatchdogTest, ACallWithoutABoundOfItsOwnIsEnded) {
  std::atomic<int64_t> looks{0};
  std::promise<std::string> timed_out;
  {
    Watched options = ComputeOptions(Options(), looks);
    Watchdog watchdog(options);  // nothing runs yet
    {
      const Watchdog::Bound in_time(watchdog, {.name = "MPI_Init", .limit_s = 1e9});
      while (looks < 10) std::this_thread::yield();
    }
    const Watchdog::Bound bound(
        watchdog, {.name = "MPI_Finalize",
                   .limit_s = 1.5,
                   .hint = "another rank is stopped",
                   .on_timeout = [&](const std::string& text) { timed_out.set_value(text); }});
    EXPECT_EQ(timed_out.get_future().get(),
              "rank 1: MPI_Finalize timed out after 1.5 s: another rank is stopped");
  }
  EXPECT_EQ(told, -1);
}

}  // namespace
}  // namespace blockstep::testing
