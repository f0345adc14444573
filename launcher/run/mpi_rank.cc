#include "launcher/run/mpi_rank.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "core/base/status.h"
#include "dist/mpi/mpi_runtime.h"
#include "launcher/cli/exit_codes.h"
#include "launcher/machine/threads.h"
#include "launcher/run/rank_run.h"
#include "launcher/run/rank_watch.h"

namespace blockstep {
namespace {

// Where launchers say how many ranks they start, and which one this is. Slurm last: an mpirun of
// another MPI may start its own processes as Slurm's.
struct Launcher {
  const char *size, *rank;
};
constexpr Launcher kLaunchers[] = {{"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"},
                                   {"PMI_SIZE", "PMI_RANK"},  // MPICH and its relatives
                                   {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID"}};

// What the launcher says of the number of ranks, to catch a mismatched MPI.
void ReadLauncher(MpiOptions& options) {
  for (const Launcher& launcher : kLaunchers) {
    const char* value = std::getenv(launcher.size);
    if (value == nullptr || options.launcher_size > 0) continue;
    options.launcher_size = std::atoi(value);
    options.launcher_source = launcher.size;
  }
}

absl::StatusOr<std::unique_ptr<MpiRuntime>> StartMpi(double limit_s, Watchdog& watchdog) {
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
  struct RankCpus {
    int machine = 0;
    CpuSet cpus;
  };
  Communicator& world = mpi.control();
  const RankCpus mine{mpi.machine(), Affinity()};
  std::vector<RankCpus> all(world.size());
  RETURN_IF_ERROR(world.HostAllGather(&mine, sizeof mine, all.data(), "affinity of ranks"));
  std::vector<CpuSet> machine;
  for (const RankCpus& one : all) {
    if (one.machine == mine.machine) machine.push_back(one.cpus);
  }
  return ThreadsPerRankHere(machine, mpi.local_rank());
}

absl::Status RunThisRank(MpiRuntime& mpi, const MpiWork& work) {
  ASSIGN_OR_RETURN(const int free_threads, FreeThreads(mpi));
  return work.run({.group = mpi.group(),
                   .machine_ranks = mpi.local_size(),
                   .machine = mpi.machine(),
                   .free_threads = free_threads});
}

// A communicator that has failed does not come to MPI_Finalize, nor do others that wait for it.
[[noreturn]] void EndMpi(MpiRuntime& mpi, Watchdog& watchdog, const absl::Status& result,
                         const MpiWork& work) {
  // Errors of input are everyone's and rank 0 tells them; an error of this rank alone shows by MPI
  // not coming to its end.
  const bool told = mpi.control().rank() == 0;
  const int code = told ? work.report(result) : work.exit_code(result);
  const auto end_without = [&](const absl::Status& why) {
    if (result.ok()) EndProcess(work.report(why));
    if (!told) work.report(result);
    EndProcess(code);
  };
  absl::Status end;
  {
    const Watchdog::Bound bound(watchdog, {.name = "MPI_Finalize",
                                           .limit_s = result.ok() ? 60.0 : 3.0,
                                           .hint = "another rank is stopped or still working",
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
  for (const Launcher& launcher : kLaunchers) {
    const char* value = std::getenv(launcher.rank);
    if (value != nullptr) return std::atoi(value);
  }
  return 0;
}

int LaunchedRanks() {
  MpiOptions options;
  ReadLauncher(options);
  return std::max(1, options.launcher_size);
}

void RunOnMpiRankAndExit(Watchdog& watchdog, const MpiWork& work) {
  const absl::StatusOr<std::unique_ptr<MpiRuntime>> mpi = StartMpi(work.timeout_s, watchdog);
  if (!mpi.ok()) EndProcess(work.report(mpi.status()));
  EndMpi(**mpi, watchdog, RunThisRank(**mpi, work), work);
}

void RunMpiRankAndExit(const TrainConfig& config, const TrainFlags& flags,
                       const std::function<int(const absl::StatusOr<RankOutcome>&)>& report) {
  Watchdog watchdog(WatchOf(config, flags, {.rank = LaunchedRank(), .ranks = LaunchedRanks()}));
  absl::StatusOr<RankOutcome> outcome = absl::UnknownError("did not run");
  const auto of = [&](const absl::Status& status) { return status.ok() ? outcome : status; };
  RunOnMpiRankAndExit(
      watchdog,
      {.timeout_s = CommLimitS(config),
       .run =
           [&](const MpiRank& rank) {
             outcome = RunRank(config, flags,
                               {.group = rank.group,
                                .watchdog = &watchdog,
                                .threads = rank.free_threads,
                                .machine_ranks = rank.machine_ranks,
                                .machine = rank.machine});
             return outcome.status();
           },
       .report = [&](const absl::Status& status) { return report(of(status)); },
       .exit_code = [&](const absl::Status& status) { return ExitCodeOfResult(of(status)); }});
}

}  // namespace blockstep
