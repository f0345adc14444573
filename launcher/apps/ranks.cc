#include "launcher/apps/ranks.h"

#include <thread>

#include "core/base/status.h"
#include "dist/local/local_communicator.h"
#include "launcher/apps/grpc_coordination.h"
#include "launcher/trainer/threads.h"

namespace blockstep {
namespace {

int ThreadsOf(const TrainConfig& config, int local_ranks) {
  return config.runtime.threads > 0 ? static_cast<int>(config.runtime.threads)
                                    : ThreadsPerRank(local_ranks);
}

absl::StatusOr<RankOutcome> RunRank(const TrainConfig& config, const TrainFlags& flags,
                                    Communicator& group, int threads) {
  GrpcCoordination coordination;
  absl::StatusOr<RankOutcome> result = RunTrainingRank(
      config, flags, {.group = &group, .coordination = &coordination, .threads = threads});
  coordination.Leave(result.ok() ? "finished" : result.status().ToString());
  return result;
}

absl::StatusOr<RankOutcome> RunLocalRanks(const TrainConfig& config, const TrainFlags& flags) {
  const int ranks = static_cast<int>(config.runtime.local_ranks);
  auto groups =
      LocalGroup::Create(ranks, {.timeout = std::chrono::milliseconds(
                                     static_cast<int64_t>(config.runtime.comm_timeout_s * 1000))});
  std::vector<absl::StatusOr<RankOutcome>> results(ranks, absl::UnknownError("did not run"));
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back(
        [&, r] { results[r] = RunRank(config, flags, *groups[r], ThreadsOf(config, ranks)); });
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
