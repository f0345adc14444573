#include "launcher/run/rank_run.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "core/base/status.h"
#include "dist/local/local_communicator.h"
#include "launcher/cli/exit_codes.h"
#include "launcher/cli/text_writer.h"
#include "launcher/machine/threads.h"
#include "launcher/run/grpc_coordination.h"
#include "launcher/run/open.h"
#include "launcher/run/rank_watch.h"
#include "launcher/run/resolve.h"
#include "launcher/run/train.h"

namespace blockstep {
namespace {

// Nothing is left to do, so nothing was touched.
std::string Finished(const RunFolder& run, int64_t steps) {
  return Cat(
      run.resume_from, ": the run is finished (step ", run.resume_step, " of ", steps,
      "); nothing to do. To train further, raise train.steps and pass --allow-config-change");
}

// Third call of RunTrainingRank: joins the coordinator. Collective. Returns the source of
// directives; `resolved` and `opened` must outlive it.
absl::StatusOr<DirectiveSource*> ConnectRun(const RankJob& job, const ResolvedRun& resolved,
                                            const OpenedRun& opened) {
  absl::StatusOr<DirectiveSource*> source =
      job.env.coordination->Connect({.config = &job.config,
                                     .model = &resolved.model,
                                     .table = &resolved.table,
                                     .run = &opened.folder,
                                     .resumed = opened.resumes() ? &opened.resumed : nullptr,
                                     .machine_ranks = job.env.machine_ranks},
                                    job.control());
  // Nobody answered there within the grace, or this process was asked to stop meanwhile. Nothing
  // has been written: the same command may be given again.
  if (absl::IsUnavailable(source.status())) return WithExitCode(source.status(), kExitStopped);
  return source;
}

absl::StatusOr<RankOutcome> RunTrainingRank(const TrainConfig& config, const TrainFlags& flags,
                                            const RankEnv& env) {
  const RankJob job{.config = config, .flags = flags, .env = env};
  ASSIGN_OR_RETURN(const ResolvedRun resolved, ResolveRun(job));
  ASSIGN_OR_RETURN(const std::unique_ptr<OpenedRun> opened, OpenRun(job, resolved));
  const RunFolder& run = opened->folder;
  if (run.resume_step >= config.train.steps) {
    if (job.leads()) Say(Finished(run, config.train.steps));
    return RankOutcome{.outcome = {.step = run.resume_step}};
  }
  RankObserver observer(job.control());
  ASSIGN_OR_RETURN(DirectiveSource* const source, ConnectRun(job, resolved, *opened));
  const Watching watching(*env.watchdog, WatchedRunOf(job, opened->training));
  ASSIGN_OR_RETURN(TrainedRun trained, TrainRun(job, resolved, *opened, source, observer));
  ASSIGN_OR_RETURN(std::string hash,
                   CloseRun(job, resolved, *opened, trained.state_hash, observer));
  return RankOutcome{.outcome = std::move(trained.outcome), .weights_hash = std::move(hash)};
}

}  // namespace

int ExitCodeOfResult(const absl::StatusOr<RankOutcome>& result) {
  if (!result.ok()) return ExitCodeOf(result.status());
  switch (result->outcome.end) {
    case TrainEnd::kFinished:
      return kExitOk;
    case TrainEnd::kNonFinite:
      return kExitNonFinite;
    case TrainEnd::kStopped:
    case TrainEnd::kOrphaned:
      return kExitStopped;
    case TrainEnd::kRefused:
      return kExitPeers;
  }
  return kExitFailure;
}

absl::StatusOr<RankOutcome> RunRank(const TrainConfig& config, const TrainFlags& flags,
                                    RankEnv env) {
  GrpcCoordination coordination;
  env.coordination = &coordination;
  const int64_t wanted = config.runtime.threads;
  if (wanted > env.threads && env.group.rank() == 0) {
    Say(Cat("warning: runtime.threads: ", wanted, " per rank, but affinity and quota leave ",
            env.threads, " of this host's CPUs to each rank"));
  }
  if (wanted > 0) env.threads = static_cast<int>(wanted);
  absl::StatusOr<RankOutcome> result = RunTrainingRank(config, flags, env);
  const absl::Status& status = result.status();
  coordination.Leave(status.ok() ? "finished"
                                 : status.ToString(absl::StatusToStringMode::kWithNoExtraData));
  if (!status.ok()) return OnRank(status, {.rank = env.group.rank(), .ranks = env.group.size()});
  return result;
}

absl::StatusOr<RankOutcome> RunLocalRanks(const TrainConfig& config, const TrainFlags& flags) {
  const int ranks = static_cast<int>(config.runtime.local_ranks);
  const LocalOptions local{
      .timeout = std::chrono::milliseconds(static_cast<int64_t>(CommLimitS(config) * 1000))};
  auto groups = LocalGroup::CreatePairs(ranks, local);
  std::vector<absl::StatusOr<RankOutcome>> results(ranks, absl::UnknownError("did not run"));
  std::vector<std::thread> threads;
  std::atomic<int> first_failed{-1};
  const int free_threads = ThreadsPerRankHere(ranks);
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      Watchdog watchdog(WatchOf(config, flags, {.rank = r, .ranks = ranks}));
      results[r] = RunRank(config, flags,
                           {.group = groups[r].group(),
                            .watchdog = &watchdog,
                            .threads = free_threads,
                            .process_ranks = ranks,
                            .machine_ranks = ranks});
      if (results[r].ok()) return;
      int none = -1;
      first_failed.compare_exchange_strong(none, r);
      // The others need not wait for it until their calls give up; what they then say follows from
      // the first error.
      groups[r].group().Abandon(results[r].status());
    });
  }
  for (std::thread& t : threads) t.join();
  const int first = std::max(0, first_failed.load());
  // Others know of an agreed error, too, but the rank that it is of has the whole text.
  const int origin = FactsOf(results[first].status()).rank;
  const bool knows =
      origin >= 0 && origin < ranks && FactsOf(results[origin].status()).rank == origin;
  return std::move(results[knows ? origin : first]);
}

}  // namespace blockstep
