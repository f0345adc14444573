#include "launcher/run/connect.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>

#include "core/base/status.h"
#include "launcher/cli/exit_codes.h"
#include "launcher/cli/stop_signal.h"
#include "launcher/run/end_launcher.h"

namespace blockstep {
namespace {

// A call that waits inside MPI, or for a disk, cannot be taken back, so the process ends here and
// mpirun ends the others. Ranks speak one after another: the first one that can is usually the only
// one.
[[noreturn]] void EndOfHang(const std::string& report, int rank, const RunFolder& run, int code) {
  if (!TerminationSeen()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(200) * std::min(rank, 4));
  }
  std::fprintf(stderr,
               "\nblockstep: %sblockstep: run aborted; checkpoints in %s are intact; continue with "
               "--resume auto\n",
               report.c_str(), run.path.c_str());
  std::fflush(stderr);
  EndLauncherLater(kLauncherEndsWithinS);
  _exit(code);
}

WatchdogOptions WatchOf(const RankJob& job, const OpenedRun& opened) {
  const TrainConfig& config = job.config;
  const double disk_limit_s = config.checkpoint.disk_timeout_s;
  const int rank = job.group().rank();
  const RunFolder* run = &opened.folder;
  Communicator* group = &job.group();
  Coordination* coordination = job.env.coordination;
  return {
      .rank = rank,
      .place = &opened.place,
      .progress = [group] { return group->progress(); },
      .peers = [coordination](double deadline_s) { return coordination->Peers(deadline_s); },
      .tell = [coordination](int64_t step, RunStage stage,
                             const CommProgress& comm) { coordination->Tell(step, stage, comm); },
      .on_hang = [=](const std::string& report) { EndOfHang(report, rank, *run, kExitPeers); },
      .on_disk_wait =
          [](const std::string& text) { std::fprintf(stderr, "blockstep: %s\n", text.c_str()); },
      .on_disk_stuck =
          [=](const std::string& text) {
            EndOfHang(Cat(text, "; checkpoint.disk_timeout_s is ", disk_limit_s, " s\n"), rank,
                      *run, kExitResources);
          },
      .ending = TerminationSeen,
      .lease_s = config.coordinator.lease_s,
      // Embedded, it is a rank and is lost as one; an external one may be started again.
      .patience_s = config.coordinator.address.empty() ? 0 : config.coordinator.grace_s,
      .limit_s = config.runtime.comm_timeout_s + 10,
      .disk_say_s = std::min(5.0, disk_limit_s / 2),
      .disk_limit_s = disk_limit_s};
}

}  // namespace

absl::StatusOr<ConnectedRun> ConnectRun(const RankJob& job, const ResolvedRun& resolved,
                                        OpenedRun& opened) {
  ConnectedRun connected;
  ASSIGN_OR_RETURN(connected.source, job.env.coordination->Connect(
                                         {.config = &job.config,
                                          .model = &resolved.model,
                                          .table = &resolved.table,
                                          .run = &opened.folder,
                                          .resumed = opened.resumes() ? &opened.resumed : nullptr,
                                          .machine_ranks = job.env.machine_ranks},
                                         job.group()));
  connected.watchdog = std::make_unique<Watchdog>(WatchOf(job, opened));
  return connected;
}

}  // namespace blockstep
