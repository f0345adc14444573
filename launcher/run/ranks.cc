#include "launcher/run/ranks.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "core/base/error_facts.h"
#include "core/base/status.h"
#include "dist/local/local_communicator.h"
#include "launcher/machine/threads.h"
#include "launcher/run/grpc_coordination.h"
#include "launcher/run/rank_watch.h"

namespace blockstep {

absl::StatusOr<RankOutcome> RunRank(const TrainConfig& config, const TrainFlags& flags,
                                    RankEnv env) {
  GrpcCoordination coordination;
  env.coordination = &coordination;
  if (config.runtime.threads > 0) env.threads = static_cast<int>(config.runtime.threads);
  absl::StatusOr<RankOutcome> result = RunTrainingRank(config, flags, env);
  const absl::Status& status = result.status();
  coordination.Leave(status.ok() ? "finished"
                                 : status.ToString(absl::StatusToStringMode::kWithNoExtraData));
  if (!status.ok()) return OnRank(status, env.group->rank());
  return result;
}

absl::StatusOr<RankOutcome> RunLocalRanks(const TrainConfig& config, const TrainFlags& flags) {
  const int ranks = static_cast<int>(config.runtime.local_ranks);
  auto groups = LocalGroup::Create(
      ranks,
      {.timeout = std::chrono::milliseconds(static_cast<int64_t>(CommLimitS(config) * 1000))});
  std::vector<absl::StatusOr<RankOutcome>> results(ranks, absl::UnknownError("did not run"));
  std::vector<std::thread> threads;
  std::atomic<int> first_failed{-1};
  const int free_threads = ThreadsPerRankHere(ranks);
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      Watchdog watchdog(WatchOf(config, flags, r));
      results[r] = RunRank(config, flags,
                           {.group = groups[r].get(),
                            .watchdog = &watchdog,
                            .threads = free_threads,
                            .process_ranks = ranks,
                            .machine_ranks = ranks});
      if (results[r].ok()) return;
      int none = -1;
      first_failed.compare_exchange_strong(none, r);
      // The others need not wait for it until their calls give up; what they then say follows from
      // the first error.
      groups[r]->Abandon(results[r].status());
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
