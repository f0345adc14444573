#include "launcher/run/mpi_rank.h"

#include <chrono>
#include <cstdlib>

#include "core/base/status.h"
#include "dist/mpi/mpi_runtime.h"
#include "launcher/cli/exit_codes.h"
#include "launcher/machine/threads.h"
#include "launcher/run/rank_watch.h"
#include "launcher/run/ranks.h"

namespace blockstep {
namespace {

using Report = std::function<int(const absl::StatusOr<RankOutcome>&)>;

// What the launcher says of the number of ranks, to catch a mismatched MPI.
void ReadLauncher(MpiOptions& options) {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || options.launcher_size > 0) continue;
    options.launcher_size = std::atoi(value);
    options.launcher_source = name;
  }
}

absl::StatusOr<std::unique_ptr<MpiRuntime>> StartMpi(const TrainConfig& config,
                                                     Watchdog& watchdog) {
  const double limit_s = config.runtime.comm_timeout_s;
  MpiOptions options{.timeout = std::chrono::milliseconds(static_cast<int64_t>(limit_s * 1000))};
  ReadLauncher(options);
  const Watchdog::Bound bound(watchdog,
                              {.name = "MPI_Init",
                               .limit_s = limit_s,
                               .hint = "another rank is stopped, or its host is unreachable",
                               .on_timeout = [](const std::string& text) {
                                 EndOfHang(text + "\n", LaunchedRank(), kExitPeers);
                               }});
  return MpiRuntime::Create(options);
}

// Of an MPI rank. Collective: a launcher may bind each rank to CPUs of its own, so the ranks of a
// machine compare what they have.
absl::StatusOr<int> FreeThreads(MpiRuntime& mpi) {
  struct Place {
    int machine = 0;
    CpuSet cpus;
  };
  Communicator& world = mpi.world();
  const Place mine{mpi.machine(), Affinity()};
  std::vector<Place> all(world.size());
  RETURN_IF_ERROR(world.HostAllGather(&mine, sizeof mine, all.data(), "affinity of ranks"));
  std::vector<CpuSet> machine;
  for (const Place& place : all) {
    if (place.machine == mine.machine) machine.push_back(place.cpus);
  }
  return ThreadsPerRankHere(machine, mpi.local_rank());
}

absl::StatusOr<RankOutcome> RunThisRank(const TrainConfig& config, const TrainFlags& flags,
                                        MpiRuntime& mpi, Watchdog& watchdog) {
  ASSIGN_OR_RETURN(const int free_threads, FreeThreads(mpi));
  return RunRank(config, flags,
                 {.group = &mpi.world(),
                  .watchdog = &watchdog,
                  .threads = free_threads,
                  .machine_ranks = mpi.local_size()});
}

// A communicator that has failed does not come to MPI_Finalize, nor do others that wait for it.
[[noreturn]] void EndMpi(MpiRuntime& mpi, Watchdog& watchdog,
                         const absl::StatusOr<RankOutcome>& result, const Report& report) {
  // Errors of input are everyone's and rank 0 tells them; an error of this rank alone shows by MPI
  // not coming to its end.
  const bool told = mpi.world().rank() == 0;
  const int code = told ? report(result) : ExitCodeOfResult(result);
  const auto end_without = [&](const absl::Status& why) {
    if (result.ok()) EndProcess(report(why));
    if (!told) report(result);
    EndProcess(code);
  };
  absl::Status end;
  {
    const Watchdog::Bound bound(watchdog, {.name = "MPI_Finalize",
                                           .limit_s = result.ok() ? 60.0 : 3.0,
                                           .hint = "another rank is stopped, or still at work",
                                           .on_timeout = [&](const std::string& text) {
                                             end_without(DeadlineExceeded(text));
                                           }});
    end = mpi.Finalize();
  }
  if (!end.ok()) end_without(end);
  EndProcess(code);
}

}  // namespace

int LaunchedRank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "SLURM_PROCID"}) {
    const char* value = std::getenv(name);
    if (value != nullptr) return std::atoi(value);
  }
  return 0;
}

void RunMpiRankAndExit(const TrainConfig& config, const TrainFlags& flags, const Report& report) {
  Watchdog watchdog(WatchOf(config, flags, LaunchedRank()));
  const absl::StatusOr<std::unique_ptr<MpiRuntime>> mpi = StartMpi(config, watchdog);
  if (!mpi.ok()) EndProcess(report(mpi.status()));
  EndMpi(**mpi, watchdog, RunThisRank(config, flags, **mpi, watchdog), report);
}

}  // namespace blockstep
