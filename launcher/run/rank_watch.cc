#include "launcher/run/rank_watch.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>

#include "core/base/str.h"
#include "launcher/cli/exit_codes.h"
#include "launcher/cli/stop_signal.h"
#include "launcher/cli/text_writer.h"
#include "launcher/run/end_launcher.h"

namespace blockstep {
namespace {

constexpr double kBeyondGraceS = 10;  // a last call to the coordinator, and a late look at the time

}  // namespace

void EndProcess(int code) {
  Stderr().Flush(kLastWordsS);
  std::fflush(nullptr);
  _exit(code);
}

void EndOfHang(const std::string& lines, int rank, int code) {
  if (!TerminationSeen()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(200) * std::min(rank, 4));
  }
  Stderr().Write(Cat("\nblockstep: ", lines));
  EndLauncherLater(kLauncherEndsWithinS);
  EndProcess(code);
}

double CommLimitS(const TrainConfig& config) {
  const TrainConfig::Coordinator& coordinator = config.coordinator;
  const double limit_s = config.runtime.comm_timeout_s;
  return coordinator.address.empty() ? limit_s
                                     : std::max(limit_s, coordinator.grace_s + kBeyondGraceS);
}

WatchdogOptions WatchOf(const TrainConfig& config, const TrainFlags& flags, int rank) {
  const double disk_limit_s = config.checkpoint.disk_timeout_s;
  const double compute_limit_s = config.runtime.compute_timeout_s;
  const std::string ends = Cat("blockstep: run aborted; checkpoints in ", flags.run,
                               " are intact; continue with --resume auto\n");
  const double grace_s = config.coordinator.grace_s;
  return {
      .rank = rank,
      .on_hang = [=](const std::string& report) { EndOfHang(Cat(report, ends), rank, kExitPeers); },
      .on_disk_wait = Say,
      .on_disk_stuck =
          [=](const std::string& text) {
            EndOfHang(Cat(text, "; checkpoint.disk_timeout_s is ", disk_limit_s, " s\n", ends),
                      rank, kExitResources);
          },
      .on_compute_stuck =
          [=](const std::string& text) {
            EndOfHang(Cat(text, "; runtime.compute_timeout_s is ", compute_limit_s, " s\n", ends),
                      rank, kExitPeers);
          },
      .ending = TerminationSeen,
      .lease_s = config.coordinator.lease_s,
      // Embedded, it is a rank and is lost as one; an external one may be started again.
      .patience_s = config.coordinator.address.empty() ? 0 : grace_s,
      .limit_s = CommLimitS(config) + 10,
      .disk_say_s = std::min(5.0, disk_limit_s / 2),
      .disk_limit_s = disk_limit_s,
      // A step that waits for its directive computes nothing either, and has the grace for it.
      .compute_limit_s = std::max(compute_limit_s, grace_s + config.coordinator.lease_s),
  };
}

WatchedRun WatchedRunOf(const RankJob& job, const RunPlace& place) {
  Communicator* group = &job.group();
  Coordination* coordination = job.env.coordination;
  return {
      .place = &place,
      .progress = [group] { return group->progress(); },
      .peers = [coordination](double deadline_s) { return coordination->Peers(deadline_s); },
      .tell = [coordination](int64_t step, RunStage stage,
                             const CommProgress& comm) { coordination->Tell(step, stage, comm); }};
}

}  // namespace blockstep
