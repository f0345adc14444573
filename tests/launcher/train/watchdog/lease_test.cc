// A rank that stops is reported within the lease. The clock is the test's and moves by one look at
// each look, so the answer is the same on any machine.
#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "core/base/status.h"
#include "core/base/str.h"
#include "launcher/train/watchdog/watchdog.h"

namespace blockstep::testing {
namespace {

struct Case {
  double lease_s = 15;
  double look_s = 0.1;
  double first_look_s = 0;  // after the call began
  double answer_s = 0;      // how long the coordinator takes to answer
  bool reachable = true;    // false: it was in the rank that stopped
};

// Seconds from the beginning of the call, which is also when the other rank stopped, to the report.
double SecondsToReport(const Case& c) {
  WatchedProgress training;
  std::atomic<int64_t> now_ns{static_cast<int64_t>((c.first_look_s - c.look_s) * 1e9)};
  const auto pass = [&](double seconds) { now_ns += static_cast<int64_t>(seconds * 1e9); };
  std::promise<double> reported;
  Watchdog watchdog(
      {.rank = 0,
       .on_hang =
           [&](const std::string&) { reported.set_value(static_cast<double>(now_ns) * 1e-9); },
       .lease_s = c.lease_s,
       .limit_s = 1e9,
       .compute_limit_s = 1e9,
       .look_s = 1e-5,
       .now_ns = [&] { return now_ns.load(); }});
  watchdog.Watch({.training = &training,
                  .progress =
                      [] {
                        return CommProgress{
                            .sequence = 17, .op = "all-gather", .what = "layer 3", .running = true};
                      },
                  .peers = [&](double deadline_s) -> absl::StatusOr<std::vector<PeerState>> {
                    pass(c.reachable ? c.answer_s : deadline_s);
                    if (!c.reachable) return Unavailable("no answer from h:1");
                    const double silent_s = static_cast<double>(now_ns) * 1e-9;
                    return std::vector<PeerState>{
                        {.rank = 0, .sequence = 17},
                        {.rank = 1, .sequence = 16, .silent_s = silent_s}};
                  },
                  .tell = [&](int64_t, RunStage, const CommProgress&) { pass(c.look_s); }});
  return reported.get_future().get();
}

TEST(WatchdogLease, AStoppedRankIsReportedWithinTheLease) {
  for (const double lease : {2.0, 3.0, 5.0, 15.0, 60.0}) {
    const double look = std::min(0.1, 0.025 * lease);
    double latest = 0;
    for (const bool reachable : {true, false}) {
      for (int phase = 0; phase < 10; phase += 3) {
        for (const double answer : {0.0, 0.01, 0.02}) {
          const double seconds = SecondsToReport({.lease_s = lease,
                                                  .look_s = look,
                                                  .first_look_s = look * phase / 10,
                                                  .answer_s = answer * lease,
                                                  .reachable = reachable});
          latest = std::max(latest, seconds);
          // Not before the share of the lease after which a rank counts as lost.
          EXPECT_GE(seconds, 0.5 * lease);
        }
      }
    }
    std::cout << "lease " << lease << " s: reported after " << latest << " s at the latest\n";
    EXPECT_LE(latest, lease);
  }
}

}  // namespace
}  // namespace blockstep::testing
