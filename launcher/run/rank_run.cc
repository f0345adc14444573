#include "launcher/run/rank_run.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>
#include <thread>

#include "core/backends/backends.h"
#include "core/base/status.h"
#include "dist/agree_on_lines.h"
#include "dist/group_status.h"
#include "launcher/checkpoint/retention.h"
#include "launcher/checkpoint/weights_io.h"
#include "launcher/cli/exit_codes.h"
#include "launcher/cli/stop_signal.h"
#include "launcher/machine/threads.h"
#include "launcher/run/carry_policy.h"
#include "launcher/run/console.h"
#include "launcher/run/end_launcher.h"
#include "launcher/run/inputs.h"
#include "launcher/run/run_files.h"
#include "launcher/train/input_digests.h"
#include "launcher/train/metrics/data_ledger.h"
#include "launcher/train/plan/memory_check.h"
#include "launcher/train/watchdog/watchdog.h"
#include "optim/policy/describe.h"

namespace blockstep {
namespace {

absl::StatusOr<const Backend*> BackendOf(const TrainConfig& config) {
  if (config.runtime.backend == BackendKind::kNull) {
    return InvalidArgument("runtime.backend: found null, which has no memory and is what ",
                           "`estimate` uses; wanted cpu, async or cuda");
  }
  static constexpr std::string_view kNames[] = {"cpu", "null", "async", "cuda"};
  return FindBackend(kNames[static_cast<size_t>(config.runtime.backend)]);
}

template <typename Event, typename... Args>
absl::Status Tell(const Event& event, const Args&... args) {
  return event ? event(args...) : absl::OkStatus();
}

// Nothing is left to do, so nothing was touched.
std::string Finished(const TrainConfig& config, const RunFolder& run) {
  return Cat(run.resume_from, " is finished: at step ", run.resume_step, " of ", config.train.steps,
             "; nothing to do. For more steps raise train.steps and give ",
             "--resume-with-changed-maths");
}

// What else there is to do about a checkpoint that --resume auto took and that is damaged.
absl::Status WithTheOneBefore(const absl::Status& status, const RunFolder& run) {
  if (!absl::IsDataLoss(status)) return status;
  std::string before;
  for (const CheckpointName& name : ListCheckpoints(run.path)) {
    if (name.step < run.resume_step) before = name.folder;
    if (name.folder != run.resume_from) continue;
    if (before.empty()) return status;
    return DataLoss(status.message(), "; remove ", run.resume_from,
                    ", and --resume auto takes the one before, ", before);
  }
  return status;  // of another run
}

// Every line that ranks must have in common. Of the flags, those that rank 0 acts on for all.
std::string SharedLines(const TrainConfig& config, const TrainFlags& flags,
                        const std::string& maths, const Inputs& inputs) {
  return Cat(
      maths, inputs.shown, SharedText(config), "--run: ", flags.run, "\n--resume: ", flags.resume,
      "\n--resume-with-changed-maths: ", flags.allow_maths_change ? "given" : "not given", "\n");
}

// A full disk costs the ledger, not the run: it ends there and says so.
void WriteLedger(std::optional<DataLedger>& ledger, int rank, int64_t step,
                 std::span<const SlotRecord> slots) {
  const absl::Status status = ledger->Write(step, slots);
  if (status.ok()) return;
  ledger.reset();
  std::fprintf(stderr, "blockstep: THE DATA LEDGER OF RANK %d ENDS HERE: %s\n", rank,
               std::string(Std(status.message())).c_str());
}

// A call that waits inside MPI, or for a disk, cannot be taken back, so the process ends here and
// mpirun ends the others. Ranks speak one after another: the first one that can is usually the only
// one.
[[noreturn]] void EndOfHang(const std::string& report, int rank, const RunFolder& run, int code) {
  if (!TerminationSeen()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(200) * std::min(rank, 4));
  }
  std::fprintf(
      stderr,
      "\nblockstep: %sblockstep: the run ends; checkpoints in %s stand; --resume auto continues\n",
      report.c_str(), run.path.c_str());
  std::fflush(stderr);
  EndLauncherLater(kLauncherEndsWithinS);
  _exit(code);
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

int64_t ArenaAddressSpace() { return int64_t{1} << 40; }

absl::StatusOr<RankOutcome> RunTrainingRank(const TrainConfig& config, const TrainFlags& flags,
                                            const RankEnv& env) {
  Communicator& group = *env.group;
  const Backend* backend = nullptr;
  LlamaConfig model;
  TensorTable table;
  PolicyConfig policy;
  Inputs inputs;
  const auto resolve = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(backend, BackendOf(config));
    ASSIGN_OR_RETURN(model, ModelOf(config));
    table = LlamaTensors(model);
    ASSIGN_OR_RETURN(policy, ResolvePolicy(config, table));
    RETURN_IF_ERROR(CheckRunFiles(config, flags.tokenizer));
    ASSIGN_OR_RETURN(inputs, ReadInputs(config, model));
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(AgreeOnStatus(&group, resolve(), "configuration"));
  const std::string maths = RunMathsText(config, model, inputs);
  RETURN_IF_ERROR(AgreeOnLines(group, SharedLines(config, flags, maths, inputs)));
  const std::string config_hash = HashOfText(maths), config_text = RunConfigText(config);
  // Everything that can be wrong with input, or is too large, is found before the run has a folder.
  const MemoryCheckShape memory{.threads = env.threads,
                                .process_ranks = env.process_ranks,
                                .machine_ranks = env.machine_ranks};
  ASSIGN_OR_RETURN(const MemoryPromise promise, CheckMemory(config, model, memory, group));
  absl::StatusOr<std::unique_ptr<ThreadPool>> pool = StartThreads(env.threads);
  RETURN_IF_ERROR(AgreeOnStatus(&group, pool.status(), "threads"));
  Tracer tracer;
  const bool trace = !config.runtime.trace.empty();
  RunPlace place;
  absl::StatusOr<std::unique_ptr<Session>> made =
      Session::Create(config, model,
                      {.backend = backend,
                       .group = &group,
                       .pool = pool->get(),
                       .tracer = trace ? &tracer : nullptr,
                       .disk = &place.disk,
                       .arena_bytes = ArenaAddressSpace()});
  RETURN_IF_ERROR(AgreeOnStatus(&group, made.status(), "session"));
  const std::unique_ptr<Session> session = *std::move(made);
  RunLock lock;
  RunFolderUndo undo;
  ASSIGN_OR_RETURN(const RunFolder run,
                   OpenRunFolder({.path = flags.run,
                                  .resume = flags.resume,
                                  .config_text = config_text,
                                  .maths_text = maths,
                                  .config_hash = config_hash,
                                  .steps = config.train.steps,
                                  .allow_maths_change = flags.allow_maths_change,
                                  .new_id = RandomHex128,
                                  .undo = &undo,
                                  .lock = &lock,
                                  // A rank that its watchdog is about to end may hold it.
                                  .lock_wait_s = config.coordinator.lease_s + 5},
                                 &group));
  if (run.resume_step >= config.train.steps) {
    if (group.rank() == 0) std::fprintf(stderr, "blockstep: %s\n", Finished(config, run).c_str());
    return RankOutcome{.outcome = {.step = run.resume_step}};
  }
  TrainerState resumed;
  std::string fresh_policy;
  if (!run.resume_from.empty()) {
    const auto reader = CheckpointReader::Open(run.resume_from, &group);
    RETURN_IF_ERROR(WithTheOneBefore(reader.status(), run));
    resumed = (*reader)->trainer();
    RETURN_IF_ERROR(AgreeOnStatus(
        &group, CheckCheckpointModel(run.resume_from, model, resumed.config_hash != config_hash),
        "model of the checkpoint"));
    ASSIGN_OR_RETURN(fresh_policy, CarryPolicy(config, table, resumed));
  }
  ASSIGN_OR_RETURN(
      DirectiveSource * source,
      env.coordination->Connect({.config = &config,
                                 .model = &model,
                                 .table = &table,
                                 .run = &run,
                                 .resumed = run.resume_from.empty() ? nullptr : &resumed,
                                 .machine_ranks = env.machine_ranks},
                                group));

  std::unique_ptr<Console> console;  // of rank 0, once the run is under way
  TrainEvents events;
  std::optional<DataLedger> ledger;  // if asked for, of every rank
  std::string data_note;
  place.step = run.resume_step;
  const double disk_limit_s = config.checkpoint.disk_timeout_s;
  Watchdog watchdog(
      {.rank = group.rank(),
       .place = &place,
       .progress = [&] { return group.progress(); },
       .peers = [&](double deadline_s) { return env.coordination->Peers(deadline_s); },
       .tell = [&](int64_t step, RunPhase phase,
                   const CommProgress& comm) { env.coordination->Tell(step, phase, comm); },
       .on_hang =
           [&](const std::string& report) { EndOfHang(report, group.rank(), run, kExitPeers); },
       .on_disk_wait =
           [](const std::string& text) { std::fprintf(stderr, "blockstep: %s\n", text.c_str()); },
       .on_disk_stuck =
           [&](const std::string& text) {
             EndOfHang(Cat(text, "; checkpoint.disk_timeout_s is ", disk_limit_s, " s\n"),
                       group.rank(), run, kExitResources);
           },
       .ending = TerminationSeen,
       .lease_s = config.coordinator.lease_s,
       // Embedded, it is a rank and is lost as one; an external one may be started again.
       .patience_s = config.coordinator.address.empty() ? 0 : config.coordinator.grace_s,
       .limit_s = config.runtime.comm_timeout_s + 10,
       .disk_say_s = std::min(5.0, disk_limit_s / 2),
       .disk_limit_s = disk_limit_s});
  ASSIGN_OR_RETURN(
      std::unique_ptr<Trainer> trainer,
      Trainer::Create(
          {.session = session.get(),
           .source = source,
           .policy_state =
               [&](int64_t step, TrainerState& state) {
                 state.config_hash = config_hash;
                 state.config_text = config_text;
                 if (group.rank() != 0) return absl::OkStatus();
                 return env.coordination->PolicyState(step, state);
               },
           .stop_requested = [&] { return StopSignalSeen() || env.coordination->StopOrdered(); },
           .saves_ordered = [&] { return env.coordination->SavesOrdered(); },
           .run = &run,
           .tokenizer_files =
               TokenizerFiles(flags.tokenizer.empty() ? config.model.path : flags.tokenizer),
           .events = {.on_step = [&](const auto&... e) { return Tell(events.on_step, e...); },
                      .on_eval = [&](const auto&... e) { return Tell(events.on_eval, e...); },
                      .on_save = [&](const auto&... e) { return Tell(events.on_save, e...); },
                      .on_note = [&](const std::string& text) { data_note = text; },
                      .on_slots =
                          [&](int64_t step, std::span<const SlotRecord> slots) {
                            if (ledger.has_value()) WriteLedger(ledger, group.rank(), step, slots);
                          }},
           .place = &place}));
  RETURN_IF_ERROR(WithTheOneBefore(trainer->Start(), run));
  // Up to here nothing has changed on disk, or is taken back; metrics are cut only now.
  absl::Status opened;
  if (group.rank() == 0) {
    absl::StatusOr<std::unique_ptr<Console>> open =
        Console::Open(config, run, run.resume_step, group.size());
    opened = open.status();
    if (open.ok()) console = *std::move(open);
  }
  if (config.log.data_ledger) {
    absl::StatusOr<DataLedger> open = DataLedger::Open({.folder = run.ledger_path(),
                                                        .rank = group.rank(),
                                                        .ranks = group.size(),
                                                        .next_step = run.resume_step});
    opened.Update(open.status());
    if (open.ok()) ledger.emplace(*std::move(open));
  }
  RETURN_IF_ERROR(AgreeOnStatus(&group, opened, "metrics"));
  undo.Keep();
  if (console != nullptr) {
    if (!run.note.empty()) console->Note(run.note);
    console->Note(Cat("model ", table.parameters(), " parameters in ", table.tensors.size(),
                      " tensors; ", env.threads, env.threads == 1 ? " thread" : " threads",
                      " per rank"));
    console->Note(Describe(policy, table));
    console->Note(promise.text);
    if (!run.maths_change.empty())
      console->Note("changed since the parent run:\n" + run.maths_change);
    if (!fresh_policy.empty()) console->Note(fresh_policy);
    if (run.resume_from.empty() && !config.model.path.empty()) {
      const std::string unread = UnreadHead(config.model.path, table);
      if (!unread.empty()) console->Note(unread);
    }
    if (!data_note.empty()) console->Note(data_note);
    events = console->Events();
  }
  std::optional<InputDigests> digests;
  if (group.rank() == 0) {
    digests.emplace(InputDigestsOptions{
        .files = inputs.files,
        .record = run.inputs_path(),
        .before = run.inputs_before(),
        .tell =
            [](const std::string& text) { std::fprintf(stderr, "blockstep: %s\n", text.c_str()); },
        .disk = &place.disk});
  }
  ASSIGN_OR_RETURN(TrainOutcome outcome, trainer->Run());
  ASSIGN_OR_RETURN(std::string hash, session->WeightsHash());
  if (trace) {
    RETURN_IF_ERROR(
        tracer.WriteJson(Cat(config.runtime.trace, ".rank", group.rank(), ".json"), group.rank()));
  }
  ASSIGN_OR_RETURN(const std::string used, MemoryUsed(promise, session->arena(), memory, group));
  if (console != nullptr) {
    console->Note(used);
    // A hash of what this start saw: comparable with another run's only if both began alike.
    console->Note(run.resume_step == 0 ? Cat("blocks sha256 ", console->BlocksHash())
                                       : Cat("blocks since step ", run.resume_step, " sha256 ",
                                             console->BlocksHash()));
    console->Note(Cat("weights sha256 ", hash));
  }
  return RankOutcome{.outcome = std::move(outcome), .weights_hash = std::move(hash)};
}

}  // namespace blockstep
