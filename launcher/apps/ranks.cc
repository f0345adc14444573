#include "launcher/apps/ranks.h"

#include <thread>

#include "core/base/status.h"
#include "dist/local/local_communicator.h"
#include "launcher/apps/local_coordination.h"
#include "launcher/trainer/threads.h"

namespace blockstep {
namespace {

int ThreadsOf(const TrainConfig& config, int local_ranks) {
  return config.runtime.threads > 0 ? static_cast<int>(config.runtime.threads)
                                    : ThreadsPerRank(local_ranks);
}

absl::StatusOr<RankOutcome> RunLocalRanks(const TrainConfig& config, const TrainFlags& flags) {
  const int ranks = static_cast<int>(config.runtime.local_ranks);
  auto groups = LocalGroup::Create(
      ranks, {.timeout = std::chrono::milliseconds(
                  static_cast<int64_t>(config.runtime.comm_timeout_s * 1000))});
  LocalCoordinator coordinator;
  std::vector<absl::StatusOr<RankOutcome>> results(ranks, absl::UnknownError("did not run"));
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      const std::unique_ptr<Coordination> coordination = coordinator.ForRank(r);
      results[r] = RunTrainingRank(config, flags,
                                   {.group = groups[r].get(),
                                    .coordination = coordination.get(),
                                    .threads = ThreadsOf(config, ranks)});
      if (!results[r].ok()) coordination->Leave(results[r].status().ToString());
    });
  }
  for (std::thread& t : threads) t.join();
  for (int r = 0; r < ranks; ++r) {
    if (!results[r].ok()) return Annotate(results[r].status(), Cat("rank ", r));
  }
  return std::move(results[0]);
}

}  // namespace

absl::StatusOr<RankOutcome> RunRanks(const TrainConfig& config, const TrainFlags& flags) {
  if (config.runtime.transport == TransportKind::kLocal) return RunLocalRanks(config, flags);
  return InvalidArgument("runtime.transport: mpi is not in this build");
}

}  // namespace blockstep
