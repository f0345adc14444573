#include "launcher/run/train.h"

#include <optional>

#include "core/base/status.h"
#include "dist/agreement.h"
#include "launcher/checkpoint/weights_io.h"
#include "launcher/cli/exit_codes.h"
#include "launcher/cli/text_writer.h"
#include "launcher/run/inputs.h"
#include "optim/policy/describe.h"

namespace blockstep {
namespace {

absl::StatusOr<std::unique_ptr<Trainer>> MakeTrainer(const RankJob& job,
                                                     const ResolvedRun& resolved, OpenedRun& opened,
                                                     DirectiveSource* source,
                                                     RankObserver& observer) {
  const std::string& tokenizer =
      job.flags.tokenizer.empty() ? job.config.model.path : job.flags.tokenizer;
  return Trainer::Create({.session = opened.session.get(),
                          .source = source,
                          .observer = &observer,
                          .control = job.env.coordination,
                          .run = &opened.folder,
                          .config_hash = resolved.config_hash,
                          .config_text = resolved.config_text,
                          .tokenizer_files = TokenizerFiles(tokenizer),
                          .watched = &opened.training});
}

// Full digests of the inputs, computed during training.
InputDigestsOptions DigestsOf(const ResolvedRun& resolved, OpenedRun& opened) {
  return {.files = resolved.inputs,
          .record = opened.folder.inputs_path(),
          .before = opened.folder.inputs_before(),
          .tell = Say,  // never waits for whoever reads stderr
          .disk = &opened.training.disk};
}

// What people should know of a run that begins.
void ShowBegin(const RankJob& job, const ResolvedRun& resolved, const OpenedRun& opened,
               RankObserver& observer) {
  if (observer.console() == nullptr) return;
  const RunFolder& run = opened.folder;
  const int threads = job.env.threads;
  if (!run.note.empty()) observer.OnNote(run.note);
  observer.OnNote(Cat("model: ", resolved.table.parameters(), " parameters, ",
                      resolved.table.tensors.size(), " tensors; ", threads,
                      threads == 1 ? " thread" : " threads", " per rank"));
  observer.OnNote(Describe(resolved.policy, resolved.table));
  observer.OnNote(resolved.promise.text);
  if (!run.maths_change.empty()) {
    observer.OnNote("changed since the parent run:\n" + run.maths_change);
  }
  if (!opened.policy_note.empty()) observer.OnNote(opened.policy_note);
  if (!opened.resumes() && !job.config.model.path.empty()) {
    const std::string unread = UnreadHead(job.config.model.path, resolved.table);
    if (!unread.empty()) observer.OnNote(unread);
  }
  observer.ShowHeldNotes();
}

}  // namespace

absl::StatusOr<TrainedRun> TrainRun(const RankJob& job, const ResolvedRun& resolved,
                                    OpenedRun& opened, DirectiveSource* source,
                                    RankObserver& observer) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Trainer> trainer,
                   MakeTrainer(job, resolved, opened, source, observer));
  absl::Status started = trainer->Start();
  // Nobody decided the first step within the grace: the same command may be given again.
  if (absl::IsUnavailable(started)) started = WithExitCode(started, kExitStopped);
  RETURN_IF_ERROR(WithTheOneBefore(started, opened.folder));
  // Up to here nothing has changed on disk, or is taken back; metrics are truncated only now.
  RETURN_IF_ERROR(
      AgreeOnStatus(&job.control(), observer.Open(job.config, opened.folder), "metrics"));
  opened.undo.Keep();
  ShowBegin(job, resolved, opened, observer);
  std::optional<InputDigests> digests;
  if (job.leads()) digests.emplace(DigestsOf(resolved, opened));
  TrainedRun trained;
  ASSIGN_OR_RETURN(trained.outcome, trainer->Run());
  ASSIGN_OR_RETURN(trained.state_hash, trainer->StateHash());
  return trained;
}

absl::StatusOr<std::string> CloseRun(const RankJob& job, const ResolvedRun& resolved,
                                     OpenedRun& opened, const std::string& state_hash,
                                     RankObserver& observer) {
  Communicator& group = job.control();
  ASSIGN_OR_RETURN(std::string hash, opened.session->WeightsHash());
  const std::string& trace = job.config.runtime.trace;
  if (!trace.empty()) {
    RETURN_IF_ERROR(
        opened.tracer.WriteJson(Cat(trace, ".rank", group.rank(), ".json"), group.rank()));
  }
  ASSIGN_OR_RETURN(const std::string used,
                   MemoryUsed(resolved.promise, opened.session->arena(), resolved.memory, group));
  if (observer.console() == nullptr) return hash;
  observer.OnNote(used);
  // A hash of what this start saw: comparable with another run's only if both began alike.
  const int64_t from = opened.folder.resume_step;
  observer.OnNote(Cat(from == 0 ? std::string("blocks") : Cat("blocks since step ", from),
                      " sha256 ", observer.console()->BlocksHash()));
  observer.OnNote(Cat("state sha256 ", state_hash));
  observer.OnNote(Cat("weights sha256 ", hash));
  return hash;
}

}  // namespace blockstep
