#include "launcher/run/resolve.h"

#include "core/backends/backends.h"
#include "core/base/status.h"
#include "dist/agreement.h"
#include "launcher/run/inputs.h"
#include "launcher/train/session.h"

namespace blockstep {
namespace {

absl::StatusOr<const Backend*> BackendOf(const TrainConfig& config) {
  if (config.runtime.backend == BackendKind::kNull) {
    return InvalidArgument(
        "runtime.backend: expected cpu or guarded, got null, which has no memory and is for "
        "`estimate`");
  }
  static constexpr std::string_view kNames[] = {"cpu", "null", "guarded", "cuda"};
  return FindBackend(kNames[static_cast<size_t>(config.runtime.backend)]);
}

absl::Status ResolveHere(const RankJob& job, ResolvedRun& run, Inputs& inputs) {
  ASSIGN_OR_RETURN(run.backend, BackendOf(job.config));
  ASSIGN_OR_RETURN(run.model, ModelOf(job.config));
  run.table = LlamaTensors(run.model);
  ASSIGN_OR_RETURN(run.policy, ResolvePolicy(job.config, run.table));
  RETURN_IF_ERROR(CheckRunFiles(job.config, job.flags.tokenizer));
  ASSIGN_OR_RETURN(inputs, ReadInputs(job.config, run.model));
  return absl::OkStatus();
}

// Every line that ranks must have in common. Of the flags, those that rank 0 acts on for all.
std::string SharedLines(const RankJob& job, const std::string& maths, const Inputs& inputs) {
  return Cat(maths, inputs.shown, SharedText(job.config), "--run: ", job.flags.run,
             "\n--resume: ", job.flags.resume,
             "\n--allow-config-change: ", job.flags.allow_config_change ? "given" : "not given",
             "\n");
}

// A group of placement node is a machine only if these are numbered one after the other and have
// as many ranks each. Collective.
absl::Status CheckMachines(const RankJob& job) {
  struct Place {
    int first = 0, ranks = 0;
  };
  const Place mine{job.env.machine, job.env.machine_ranks};
  std::vector<Place> all(static_cast<size_t>(job.env.group.size()));
  RETURN_IF_ERROR(job.control().HostAllGather(&mine, sizeof mine, all.data(), "machines"));
  const int size = all[0].ranks;
  for (int r = 0; r < job.env.group.size(); ++r) {
    const Place& place = all[static_cast<size_t>(r)];
    if (place.ranks == size && place.first == r / size * size) continue;
    return InvalidArgument("placement.mode node: expected ", size,
                           " ranks on every machine as on rank 0's, numbered machine by machine; "
                           "got rank ",
                           r, " on a machine of ", place.ranks, " whose first is rank ",
                           place.first);
  }
  return absl::OkStatus();
}

absl::StatusOr<int> GroupSize(const RankJob& job) {
  const TrainConfig::Placement& placement = job.config.placement;
  if (placement.mode == PlacementMode::kNode && placement.ranks_per_group == 0) {
    RETURN_IF_ERROR(CheckMachines(job));
  }
  return GroupSizeOf(job.config, job.env.group.size(), job.env.machine_ranks);
}

}  // namespace

absl::StatusOr<ResolvedRun> ResolveRun(const RankJob& job) {
  ResolvedRun run;
  Inputs inputs;
  RETURN_IF_ERROR(AgreeOnStatus(&job.control(), ResolveHere(job, run, inputs), "configuration"));
  run.maths = RunMathsText(job.config, run.model, inputs);
  RETURN_IF_ERROR(AgreeOnLines(job.control(), SharedLines(job, run.maths, inputs)));
  run.inputs = std::move(inputs.files);
  run.config_text = RunConfigText(job.config);
  run.config_hash = HashOfText(run.maths);
  run.memory = {.threads = job.env.threads,
                .process_ranks = job.env.process_ranks,
                .machine_ranks = job.env.machine_ranks};
  ASSIGN_OR_RETURN(run.memory.group_size, GroupSize(job));
  ASSIGN_OR_RETURN(run.promise, CheckMemory(job.config, run.model, run.memory, job.control()));
  return run;
}

}  // namespace blockstep
