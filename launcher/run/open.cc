#include "launcher/run/open.h"

#include "core/base/error_facts.h"
#include "core/base/status.h"
#include "dist/group_status.h"
#include "launcher/checkpoint/retention.h"
#include "launcher/machine/threads.h"
#include "launcher/run/carry_policy.h"
#include "launcher/run/inputs.h"

namespace blockstep {
namespace {

absl::Status OpenSession(const RankJob& job, const ResolvedRun& resolved, OpenedRun& run) {
  absl::StatusOr<std::unique_ptr<Session>> made =
      Session::Create(job.config, resolved.model,
                      {.backend = resolved.backend,
                       .group = &job.group(),
                       .pool = run.pool.get(),
                       .tracer = job.config.runtime.trace.empty() ? nullptr : &run.tracer,
                       .disk = &run.place.disk,
                       .arena_bytes = ArenaAddressSpace()});
  RETURN_IF_ERROR(AgreeOnStatus(&job.group(), made.status(), "session"));
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
                                  .allow_maths_change = job.flags.allow_maths_change,
                                  .new_id = RandomHex128,
                                  .undo = &run.undo,
                                  .lock = &run.lock,
                                  // A rank that its watchdog is about to end may hold it.
                                  .lock_wait_s = job.config.coordinator.lease_s + 5},
                                 &job.group()));
  run.place.step = run.folder.resume_step;
  return absl::OkStatus();
}

absl::Status OpenCheckpoint(const RankJob& job, const ResolvedRun& resolved, OpenedRun& run) {
  const std::string& path = run.folder.resume_from;
  const auto reader = CheckpointReader::Open(path, &job.group());
  RETURN_IF_ERROR(WithTheOneBefore(reader.status(), run.folder));
  run.resumed = (*reader)->trainer();
  const bool changed = run.resumed.config_hash != resolved.config_hash;
  RETURN_IF_ERROR(AgreeOnStatus(&job.group(), CheckCheckpointModel(path, resolved.model, changed),
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
  RETURN_IF_ERROR(AgreeOnStatus(&job.group(), pool.status(), "threads"));
  run->pool = *std::move(pool);
  // Whatever can be wrong with input is found before the run has a folder.
  RETURN_IF_ERROR(OpenSession(job, resolved, *run));
  RETURN_IF_ERROR(OpenFolder(job, resolved, *run));
  const bool finished = run->folder.resume_step >= job.config.train.steps;
  if (run->resumes() && !finished) RETURN_IF_ERROR(OpenCheckpoint(job, resolved, *run));
  return run;
}

}  // namespace blockstep
