#include "launcher/run/rank_watch.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <string_view>
#include <thread>

#include "core/base/str.h"
#include "launcher/cli/exit_codes.h"
#include "launcher/cli/stop_signal.h"
#include "launcher/cli/text_writer.h"

namespace blockstep {
namespace {

constexpr double kBeyondGraceS = 10;  // a last call to the coordinator, and a late look at the time
constexpr unsigned kLauncherEndsWithinS = 10;

// Between fork and _exit only what is safe in a signal handler: other threads may hold any lock.
bool IsMpirun(const char* path) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  char text[16] = {};
  const ssize_t got = read(file, text, sizeof text);
  close(file);
  const std::string_view comm(text, got > 0 ? static_cast<size_t>(got) - 1 : 0);
  return comm == "mpirun" || comm == "orterun" || comm == "mpiexec";
}

// After a report of a hang: mpirun tells the daemons of all hosts to end, and waits for a host that
// was cut off until TCP gives up, about a quarter of an hour. Nobody else would end it. If this
// process was started by an mpirun on this machine, leaves a small process behind that kills that
// mpirun where it is still there `after_s` seconds from now; its daemons end when they lose it.
void EndLauncherLater(unsigned after_s) {
  const pid_t launcher = getppid();
  char comm[32];  // made before the fork
  std::snprintf(comm, sizeof comm, "/proc/%d/comm", launcher);
  if (launcher <= 1 || !IsMpirun(comm)) return;
  if (fork() != 0) return;
  setsid();
  for (int file = 0; file < 1024; ++file) close(file);  // mpirun waits for the ends of pipes
  while ((after_s = sleep(after_s)) > 0) {
  }
  // Not SIGTERM: it is ending already, and Open MPI 4 crashes at a signal then.
  if (IsMpirun(comm)) kill(launcher, SIGKILL);
  _exit(0);
}

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

WatchdogOptions WatchOf(const TrainConfig& config, const TrainFlags& flags, const RankOf& where) {
  const int rank = where.rank;
  const double disk_limit_s = config.checkpoint.disk_timeout_s;
  const double compute_limit_s = config.runtime.compute_timeout_s;
  const std::string ends = Cat("blockstep: run aborted; checkpoints in ", flags.run,
                               " are intact; continue with --resume auto\n");
  const double grace_s = config.coordinator.grace_s;
  return {
      .rank = rank,
      .ranks = where.ranks,
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

WatchedRun WatchedRunOf(const RankJob& job, const WatchedProgress& training) {
  const RankGroup group = job.env.group;
  Coordination* coordination = job.env.coordination;
  return {
      .training = &training,
      .progress = [group] { return group.progress(); },
      .peers = [coordination](double deadline_s) { return coordination->Peers(deadline_s); },
      .tell = [coordination](int64_t step, RunStage stage,
                             const CommProgress& comm) { coordination->Tell(step, stage, comm); }};
}

}  // namespace blockstep
