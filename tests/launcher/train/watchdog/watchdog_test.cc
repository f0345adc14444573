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

// Rank 1 of three, in a call that began at the start of the test.
class WatchdogTest : public ::testing::Test {
 protected:
  void SetUp() override {
    place.step = 41;
    place.stage = RunStage::kStep;
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

  WatchdogOptions Options() {
    return {.rank = 1,
            .place = &place,
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
            .tell = [this](int64_t step, RunStage, const CommProgress&) { told = step; },
            .on_hang = [this](const std::string& text) { report.set_value(text); },
            .lease_s = kLease,
            .patience_s = 0.4,
            .limit_s = 1e9,
            .look_s = 0.01};
  }

  // The report, or "" if the watchdog is content after several more answers.
  std::string Watch(const WatchdogOptions& options) {
    std::future<std::string> reported = report.get_future();
    Watchdog watchdog(options);
    const int64_t enough = asked + 12;
    while (reported.wait_for(std::chrono::milliseconds(10)) != std::future_status::ready) {
      if (asked >= enough) return "";
    }
    return reported.get();
  }

  std::mutex mutex;
  RunPlace place;
  CommProgress comm;
  std::vector<PeerState> peers;
  bool unreachable = false;
  std::atomic<int64_t> asked{0}, told{-1};
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
  place.stage = RunStage::kSave;
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
  WatchdogOptions options = Options();
  options.lease_s = 1e9;
  options.ending = [] { return true; };
  peers[2].connected = false;
  EXPECT_THAT(Watch(options), HasSubstr("(call 17); its connection is CLOSED"));
}

TEST_F(WatchdogTest, IsSilentWhenARankThatSaidWhyEndsTheRun) {
  WatchdogOptions options = Options();
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
  WatchdogOptions options = Options();
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
  WatchdogOptions options = Options();
  options.lease_s = 0.04;  // asks often
  std::future<std::string> reported = report.get_future();
  Watchdog watchdog(options);
  EXPECT_THAT(reported.get(),
              HasSubstr("what the other ranks last did is not known: no answer from h:1"));
}

TEST_F(WatchdogTest, NoCallWaitsBeyondTheLimit) {
  WatchdogOptions options = Options();
  options.limit_s = 0.3;
  EXPECT_THAT(Watch(options), HasSubstr("has waited"));
}

TEST_F(WatchdogTest, NobodyIsAskedWhileNothingWaits) {
  comm.running = false;
  peers[2].silent_s = 100;
  Watchdog watchdog(Options());
  while (told < 0) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(asked, 0);
}

// Says at 0.05 s, gives up at 0.4 s.
WatchdogOptions DiskOptions(WatchdogOptions options, std::vector<std::string>& said) {
  options.on_disk_wait = [&said](const std::string& text) { said.push_back(text); };
  options.on_disk_stuck = options.on_hang;
  options.disk_say_s = 0.05;
  options.disk_limit_s = 0.4;
  return options;
}

TEST_F(WatchdogTest, SaysWhichFileIsWaitedForAndEndsTheWait) {
  comm.running = false;
  std::vector<std::string> said;
  WatchdogOptions options = DiskOptions(Options(), said);
  std::atomic<RunStage> told_stage{RunStage::kStep};
  options.tell = [&](int64_t, RunStage stage, const CommProgress&) { told_stage = stage; };
  place.disk.Operation("fsync /run/model.safetensors");
  const DiskWatch::Wait wait(&place.disk, "the save of step 40");
  std::future<std::string> reported = report.get_future();
  std::string end;
  {
    Watchdog watchdog(options);
    end = reported.get();
  }
  ASSERT_GE(said.size(), 2u);  // again when the wait has doubled
  ASSERT_LE(said.size(), 4u);
  for (const std::string& text : {said[0], said[1], end}) {
    EXPECT_THAT(text, HasSubstr("rank 1: step 41: training has waited "));
    EXPECT_THAT(text, HasSubstr("for the save of step 40: fsync /run/model.safetensors (for "));
  }
  EXPECT_EQ(told_stage, RunStage::kDisk);
}

TEST_F(WatchdogTest, ASlowDiskThatGetsOnIsNotStuck) {
  comm.running = false;
  std::vector<std::string> said;
  const WatchdogOptions options = DiskOptions(Options(), said);
  const DiskWatch::Wait wait(&place.disk, "the save of step 40");
  std::future<std::string> reported = report.get_future();
  Watchdog watchdog(options);
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(900);
  while (std::chrono::steady_clock::now() < until) {
    place.disk.Operation("write /run/model.safetensors");
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(reported.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
}

TEST_F(WatchdogTest, AnOperationThatNobodyWaitsForMayTakeLong) {
  comm.running = false;
  std::vector<std::string> said;
  const WatchdogOptions options = DiskOptions(Options(), said);
  place.disk.Operation("fsync /run/model.safetensors");
  std::future<std::string> reported = report.get_future();
  Watchdog watchdog(options);
  { const DiskWatch::Wait wait(&place.disk, "metrics"); }
  EXPECT_EQ(reported.wait_for(std::chrono::milliseconds(900)), std::future_status::timeout);
  EXPECT_TRUE(said.empty());
}

TEST_F(WatchdogTest, ARankThatWaitsForAnothersDiskDoesNotBlameItsOwn) {
  std::vector<std::string> said;
  const WatchdogOptions options = DiskOptions(Options(), said);
  const DiskWatch::Wait wait(&place.disk, "the save of step 40");  // and comm.running
  std::future<std::string> reported = report.get_future();
  Watchdog watchdog(options);
  EXPECT_EQ(reported.wait_for(std::chrono::milliseconds(900)), std::future_status::timeout);
  EXPECT_TRUE(said.empty());
}

TEST_F(WatchdogTest, ACallThatEndsMeanwhileIsNoHang) {
  WatchdogOptions options = Options();
  options.peers = [this](double) -> absl::StatusOr<std::vector<PeerState>> {
    std::lock_guard lock(mutex);
    if (++asked >= 5) comm.running = false;
    std::vector<PeerState> answer = peers;
    if (asked >= 3) answer[2].silent_s = 10 * kLease;
    return answer;
  };
  std::future<std::string> reported = report.get_future();
  Watchdog watchdog(options);
  EXPECT_EQ(reported.wait_for(std::chrono::milliseconds(1500)), std::future_status::timeout);
}

}  // namespace
}  // namespace blockstep::testing
