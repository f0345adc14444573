#include "launcher/run/ranks.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <future>
#include <optional>
#include <thread>

#include "core/base/status.h"
#include "dist/local/local_communicator.h"
#include "dist/mpi/mpi_runtime.h"
#include "launcher/machine/threads.h"
#include "launcher/run/end_launcher.h"
#include "launcher/run/grpc_coordination.h"

namespace blockstep {
namespace {

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

// An error that ranks agreed on names its rank already.
absl::Status OfRank(const absl::Status& status, int rank) {
  return Std(status.message()).starts_with("rank ") ? status : Annotate(status, Cat("rank ", rank));
}

absl::StatusOr<RankOutcome> RunRank(const TrainConfig& config, const TrainFlags& flags,
                                    Communicator& group, int machine_ranks, int free_threads) {
  GrpcCoordination coordination;
  const bool threads_as_ranks = config.runtime.transport == TransportKind::kLocal;
  absl::StatusOr<RankOutcome> result = RunTrainingRank(
      config, flags,
      {.group = &group,
       .coordination = &coordination,
       .threads =
           config.runtime.threads > 0 ? static_cast<int>(config.runtime.threads) : free_threads,
       .process_ranks = threads_as_ranks ? machine_ranks : 1,
       .machine_ranks = machine_ranks});
  coordination.Leave(result.ok() ? "finished" : result.status().ToString());
  if (!result.ok()) return OfRank(result.status(), group.rank());
  return result;
}

// What the launcher says of the number of ranks, to catch a mismatched MPI.
void ReadLauncher(MpiOptions& options) {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || options.launcher_size > 0) continue;
    options.launcher_size = std::atoi(value);
    options.launcher_source = name;
  }
}

// What `call` returns, or nothing after `limit_s`. MPI gives the waits of its start and its end no
// bound, nor a way to end them: the thread stays behind, and the process has to end.
template <typename Call>
auto Within(double limit_s, Call call) -> std::optional<decltype(call())> {
  std::promise<decltype(call())> ended;
  auto end = ended.get_future();
  std::thread([call, ended = std::move(ended)]() mutable { ended.set_value(call()); }).detach();
  if (end.wait_for(std::chrono::duration<double>(limit_s)) != std::future_status::ready) return {};
  return end.get();
}

}  // namespace

absl::StatusOr<RankOutcome> RunLocalRanks(const TrainConfig& config, const TrainFlags& flags) {
  const int ranks = static_cast<int>(config.runtime.local_ranks);
  auto groups =
      LocalGroup::Create(ranks, {.timeout = std::chrono::milliseconds(
                                     static_cast<int64_t>(config.runtime.comm_timeout_s * 1000))});
  std::vector<absl::StatusOr<RankOutcome>> results(ranks, absl::UnknownError("did not run"));
  std::vector<std::thread> threads;
  std::atomic<int> first_failed{-1};
  const int free_threads = ThreadsPerRankHere(ranks);
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      results[r] = RunRank(config, flags, *groups[r], ranks, free_threads);
      if (results[r].ok()) return;
      int none = -1;
      first_failed.compare_exchange_strong(none, r);
      // The others need not wait for it until their calls give up; what they then say follows from
      // the first error.
      groups[r]->Abandon(results[r].status());
    });
  }
  for (std::thread& t : threads) t.join();
  int told = std::max(0, first_failed.load());
  // Others know of an agreed error, too, but the rank that it names has the whole text.
  for (int r = 0; r < ranks; ++r) {
    const std::string name = Cat("rank ", r, ": ");
    const auto names = [&](int of) {
      return !results[of].ok() && Std(results[of].status().message()).starts_with(name);
    };
    if (names(told) && names(r)) {
      told = r;
      break;
    }
  }
  return std::move(results[told]);
}

int LaunchedRank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "SLURM_PROCID"}) {
    const char* value = std::getenv(name);
    if (value != nullptr) return std::atoi(value);
  }
  return 0;
}

int LaunchedRanks() {
  MpiOptions options;
  ReadLauncher(options);
  return std::max(1, options.launcher_size);
}

void RunOnMpiRankAndExit(const MpiWork& work) {
  MpiOptions options{.timeout =
                         std::chrono::milliseconds(static_cast<int64_t>(work.timeout_s * 1000))};
  ReadLauncher(options);
  auto started = Within(work.timeout_s, [options] { return MpiRuntime::Create(options); });
  if (!started.has_value()) {
    const int code = work.report(
        DeadlineExceeded("rank ", LaunchedRank(), ": MPI_Init timed out after ", work.timeout_s,
                         " s: another rank is stopped, or its host is unreachable"));
    std::fflush(nullptr);
    EndLauncherLater(kLauncherEndsWithinS);
    _exit(code);
  }
  const absl::StatusOr<std::unique_ptr<MpiRuntime>> mpi = *std::move(started);
  if (!mpi.ok()) _exit(work.report(mpi.status()));
  Communicator& world = (*mpi)->world();
  const absl::StatusOr<int> free_threads = FreeThreads(**mpi);
  const absl::Status result = free_threads.ok() ? work.run({.world = world,
                                                            .machine_ranks = (*mpi)->local_size(),
                                                            .free_threads = *free_threads})
                                                : free_threads.status();
  // Errors of input are everyone's and rank 0 tells them; an error of this rank alone shows by MPI
  // not coming to its end.
  const bool told = world.rank() == 0;
  int code = told ? work.report(result) : work.exit_code(result);
  // A communicator that has failed does not come to MPI_Finalize, nor do others that wait for it.
  const double end_s = result.ok() ? 60 : 3;
  const absl::Status end =
      Within(end_s, [&mpi] { return (*mpi)->Finalize(); })
          .value_or(DeadlineExceeded("rank ", world.rank(), ": MPI_Finalize timed out after ",
                                     end_s, " s waiting for the other ranks"));
  if (!end.ok() && result.ok()) code = work.report(end);
  if (!end.ok() && !result.ok() && !told) work.report(result);
  std::fflush(nullptr);
  _exit(code);
}

void RunMpiRankAndExit(const TrainConfig& config, const TrainFlags& flags,
                       const std::function<int(const absl::StatusOr<RankOutcome>&)>& report) {
  absl::StatusOr<RankOutcome> outcome = absl::UnknownError("did not run");
  const auto of = [&](const absl::Status& status) { return status.ok() ? outcome : status; };
  RunOnMpiRankAndExit(
      {.timeout_s = config.runtime.comm_timeout_s,
       .run =
           [&](const MpiRank& rank) {
             outcome = RunRank(config, flags, rank.world, rank.machine_ranks, rank.free_threads);
             return outcome.status();
           },
       .report = [&](const absl::Status& status) { return report(of(status)); },
       .exit_code = [&](const absl::Status& status) { return ExitCodeOfResult(of(status)); }});
}

}  // namespace blockstep
