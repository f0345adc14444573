#include "launcher/run/open.h"

#include <sstream>

#include "core/base/status.h"
#include "dist/agreement.h"
#include "launcher/checkpoint/retention.h"
#include "launcher/cli/text_writer.h"
#include "launcher/machine/threads.h"
#include "launcher/run/inputs.h"
#include "optim/policy/shifted.h"

namespace blockstep {
namespace {

absl::Status OpenSession(const RankJob& job, const ResolvedRun& resolved, OpenedRun& run) {
  absl::StatusOr<std::unique_ptr<Session>> made =
      Session::Create(job.config, resolved.model,
                      {.backend = resolved.backend,
                       .group = job.env.group,
                       .group_size = resolved.memory.group_size,
                       .pool = run.pool.get(),
                       .tracer = job.config.runtime.trace.empty() ? nullptr : &run.tracer,
                       .disk = &run.training.disk,
                       .arena_bytes = resolved.promise.arena});
  RETURN_IF_ERROR(AgreeOnStatus(&job.control(), made.status(), "session"));
  run.session = *std::move(made);
  return absl::OkStatus();
}

absl::Status OpenFolder(const RankJob& job, const ResolvedRun& resolved, OpenedRun& run) {
  ASSIGN_OR_RETURN(run.folder,
                   OpenRunFolder({.path = job.flags.run,
                                  .resume = job.flags.resume,
                                  .config_text = resolved.config_text,
                                  .maths_text = resolved.maths,
                                  .config_hash = resolved.config_hash,
                                  .steps = job.config.train.steps,
                                  .allow_config_change = job.flags.allow_config_change,
                                  .new_id = RandomHex128,
                                  .undo = &run.undo,
                                  .lock = &run.lock,
                                  // A rank that its watchdog is about to end may hold it.
                                  .lock_wait_s = job.config.coordinator.lease_s + 5,
                                  .lock_note = Say},
                                 &job.control()));
  run.training.step = run.folder.resume_step;
  return absl::OkStatus();
}

std::string PolicyMaths(const TrainConfig& config) {
  std::istringstream all(MathsText(config));
  std::string text;
  for (std::string line; std::getline(all, line);) {
    if (line.starts_with("policy.")) text += line + "\n";
  }
  return text;
}

bool SameRowsGoOn(const Directive& first, const TrainerState& state) {
  if (first.kind != DirectiveKind::kTrain) return false;
  size_t train = 0;
  for (const ActiveEntry& entry : first.sets.front().entries) {
    if (entry.role != Role::kTrain) continue;
    if (train == state.counters.size()) return false;
    const EntryCounter& was = state.counters[train++];
    if (was.tensor != entry.tensor || was.rows != entry.rows) return false;
  }
  return train == state.counters.size();
}

// Keeps the checkpoint's policy state if the policy can load it; a script must have the same
// phases. Otherwise resets `state` to a policy that starts at state.step and returns a note to
// print. Optimizer state survives a reset only if the last active rows are also the first active
// rows of the new policy. Requires state.step < train.steps.
absl::StatusOr<std::string> CarryPolicy(const TrainConfig& config, const TensorTable& table,
                                        TrainerState& state) {
  ASSIGN_OR_RETURN(const PolicyConfig resolved, ResolvePolicy(config, table));
  ASSIGN_OR_RETURN(std::unique_ptr<Policy> policy, MakeShiftedPolicy(resolved, table));
  const absl::StatusOr<TrainConfig> was = ParseTrainConfig(state.config_text, "checkpoint", {});
  const bool same = was.ok() && PolicyMaths(*was) == PolicyMaths(config);
  if (same || (resolved.name != "scripted" && policy->LoadState(state.policy_state).ok())) {
    return std::string();
  }
  PolicyShift shift{.steps = state.step, .phases = state.phase};
  ASSIGN_OR_RETURN(policy, MakeShiftedPolicy(resolved, table, shift));
  std::vector<Directive> directives = policy->Start();
  const bool kept = SameRowsGoOn(directives.front(), state);
  if (!kept) {
    ++shift.phases;
    ASSIGN_OR_RETURN(policy, MakeShiftedPolicy(resolved, table, shift));
    directives = policy->Start();
  }
  state.policy_state = policy->SaveState();
  state.directives = std::move(directives);
  return Cat("policy state reset: incompatible (policy ", policy->name(), ", step ", state.step,
             "); optimizer state ", kept ? "kept: the same rows stay active" : "dropped");
}

absl::Status OpenCheckpoint(const RankJob& job, const ResolvedRun& resolved, OpenedRun& run) {
  const std::string& path = run.folder.resume_from;
  const auto reader = CheckpointReader::Open(path, &job.control());
  RETURN_IF_ERROR(WithTheOneBefore(reader.status(), run.folder));
  run.resumed = (*reader)->trainer();
  const bool changed = run.resumed.config_hash != resolved.config_hash;
  RETURN_IF_ERROR(AgreeOnStatus(&job.control(), CheckCheckpointModel(path, resolved.model, changed),
                                "model of the checkpoint"));
  ASSIGN_OR_RETURN(run.policy_note, CarryPolicy(job.config, resolved.table, run.resumed));
  return absl::OkStatus();
}

}  // namespace

absl::Status WithTheOneBefore(const absl::Status& status, const RunFolder& run) {
  if (!absl::IsDataLoss(status)) return status;
  std::string before;
  for (const CheckpointName& name : ListCheckpoints(run.path)) {
    if (name.step < run.resume_step) before = name.folder;
    if (name.folder != run.resume_from) continue;
    if (before.empty()) return status;
    return WithFacts(DataLoss(status.message(), "; remove ", run.resume_from,
                              " to let --resume auto take the previous one, ", before),
                     FactsOf(status));
  }
  return status;  // of another run
}

absl::StatusOr<std::unique_ptr<OpenedRun>> OpenRun(const RankJob& job,
                                                   const ResolvedRun& resolved) {
  auto run = std::make_unique<OpenedRun>();
  absl::StatusOr<std::unique_ptr<ThreadPool>> pool = StartThreads(job.env.threads);
  RETURN_IF_ERROR(AgreeOnStatus(&job.control(), pool.status(), "threads"));
  run->pool = *std::move(pool);
  // Whatever can be wrong with input is found before the run has a folder.
  RETURN_IF_ERROR(OpenSession(job, resolved, *run));
  RETURN_IF_ERROR(OpenFolder(job, resolved, *run));
  const bool finished = run->folder.resume_step >= job.config.train.steps;
  if (run->resumes() && !finished) RETURN_IF_ERROR(OpenCheckpoint(job, resolved, *run));
  return run;
}

}  // namespace blockstep
