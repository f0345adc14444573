#include "launcher/run/console.h"

#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <iomanip>
#include <optional>
#include <set>

#include "core/base/sha256.h"
#include "core/base/status.h"
#include "launcher/cli/text_writer.h"
#include "launcher/train/metrics/json_lines.h"
#include "launcher/train/metrics/progress.h"
#include "launcher/train/metrics/tensorboard.h"
#include "launcher/train/plan/plan_text.h"

namespace blockstep {
namespace {

int64_t Milliseconds(double seconds) { return static_cast<int64_t>(seconds * 1000 + 0.5); }

std::string SaveLine(const SaveReport& save) {
  if (!save.status.ok()) {
    return Cat("warning: checkpoint at step ", save.step, " failed: ", save.status.message(), "; ",
               save.announced < 0 ? "no checkpoint yet"
                                  : Cat("last good checkpoint: step ", save.announced));
  }
  std::string line =
      Cat("checkpoint ", save.info.folder, ": ", Mib(save.info.bytes), " MiB in ",
          Milliseconds(save.seconds), " ms; stalled ", Milliseconds(save.stall_seconds), " ms");
  // A share of the time since the previous save: the last one may follow at once.
  if (save.interval_seconds > save.stall_seconds) {
    line += Cat(" (", std::fixed, std::setprecision(2),
                100 * save.stall_seconds / save.interval_seconds, " %)");
  }
  if (save.waited_seconds > 0) {
    line += Cat("; the next save waited ", Milliseconds(save.waited_seconds), " ms for it");
  }
  if (!save.info.removal.ok()) {
    line += Cat("\nwarning: cannot remove older checkpoints: ", save.info.removal.message());
  }
  return line;
}

}  // namespace

struct Console::Impl {
  Impl(const TrainConfig& config, int64_t next_step)
      : config(config),
        progress({.total_steps = config.train.steps,
                  .first_step = next_step,
                  .terminal = isatty(STDERR_FILENO) != 0,
                  .plain_every = std::max<int64_t>(1, config.log.every_steps)},
                 [](std::string text) { Stderr().Write(std::move(text)); }) {}

  // A full disk costs lines of metrics, not the run: it is said once, and once more when they are
  // written again.
  absl::Status Write(const StepMetrics& metrics) {
    absl::Status status = lines->Write(metrics);
    if (board.has_value()) status.Update(board->Write(metrics));
    if (!status.ok() && !losing) progress.Note(Cat("warning: metrics lost: ", status.message()));
    if (status.ok() && losing) {
      progress.Note(Cat("metrics resumed at step ", metrics.step));
    }
    losing = !status.ok();
    return absl::OkStatus();
  }

  absl::Status OnStep(const StepResult& step, double seconds_of_step) {
    const StepReport& report = step.report;
    last_step = report.step;
    const double count = report.tokens > 0 ? static_cast<double>(report.tokens) : 1.0;
    const double loss = report.loss_sum / count;
    blocks.Update(Cat(report.step, " ", step.phase));
    std::string trained;
    for (const TensorNorm& norm : report.norms) {
      blocks.Update(Cat(" ", norm.tensor, ":", static_cast<int>(norm.role), ":", norm.elements));
      if (norm.role == Role::kTrain) trained += Cat(norm.tensor, ":", norm.elements, " ");
    }
    // The label tells row ranges of one tensor apart. A sweep trains nothing.
    if (!trained.empty()) active_sets.insert(step.label + "\n" + trained);
    seconds += seconds_of_step;
    tokens += report.tokens;
    progress.Step({.step = report.step,
                   .loss = loss,
                   .lr = step.learning_rate,
                   .block = step.label,
                   .seconds = seconds,
                   .tokens = tokens});
    if (report.nonfinite > 0) {
      progress.Note(
          Cat("step ", report.step, ": ", report.nonfinite, " non-finite values; update skipped"));
    }
    return Write({.step = report.step,
                  .values = {{"loss", loss},
                             {"lr", step.learning_rate},
                             {"grad_norm", step.grad_norm},
                             {"tokens_per_second", count / seconds_of_step},
                             {"nonfinite", static_cast<double>(report.nonfinite)},
                             {"phase", static_cast<double>(step.phase)}},
                  .block = step.label});
  }

  absl::Status OnEval(int64_t step, const EvalResult& eval) {
    progress.Note(Cat("step ", step, ": validation loss ", eval.Loss(), ", perplexity ",
                      eval.Perplexity(), " over ", eval.tokens, " tokens"));
    return Write({.step = step,
                  .values = {{"eval/loss", eval.Loss()}, {"eval/perplexity", eval.Perplexity()}}});
  }

  absl::Status OnSave(const SaveReport& save) {
    progress.Note(SaveLine(save));
    const double interval = save.interval_seconds > 0 ? save.interval_seconds : 1.0;
    return Write({.step = last_step,
                  .values = {{"save/step", static_cast<double>(save.step)},
                             {"save/failed", save.status.ok() ? 0.0 : 1.0},
                             {"save/bytes", static_cast<double>(save.info.bytes)},
                             {"save/seconds", save.seconds},
                             {"save/stall_seconds", save.stall_seconds},
                             {"save/stall_share", save.stall_seconds / interval}}});
  }

  TrainConfig config;
  ProgressPrinter progress;
  std::optional<JsonLinesWriter> lines;
  std::optional<TensorBoardWriter> board;
  double seconds = 0;
  int64_t tokens = 0;
  Sha256 blocks;                      // of what was active at each step since this start
  std::set<std::string> active_sets;  // that were trained since then
  int64_t last_step = 0;              // that was done
  bool losing = false;                // metrics cannot be written just now
};

Console::Console(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Console::~Console() { impl_->progress.End(); }

absl::StatusOr<std::unique_ptr<Console>> Console::Open(const TrainConfig& config,
                                                       const RunFolder& run, int64_t next_step,
                                                       int64_t ranks) {
  auto impl = std::make_unique<Impl>(config, next_step);
  ASSIGN_OR_RETURN(JsonLinesWriter lines, JsonLinesWriter::Open(run.metrics_path(), next_step));
  impl->lines.emplace(std::move(lines));
  if (config.log.tensorboard) {
    ASSIGN_OR_RETURN(TensorBoardWriter board,
                     TensorBoardWriter::Open(run.tensorboard_path(), run.run_id, next_step, [] {
                       return static_cast<double>(std::time(nullptr));
                     }));
    impl->board.emplace(std::move(board));
    // TensorBoard drops everything from next_step on of the files before.
    const std::optional<StepMetrics>& kept = impl->lines->kept_evaluation();
    if (kept.has_value()) RETURN_IF_ERROR(impl->board->Write(*kept));
  }
  impl->progress.Note(Cat("run ", run.run_id, " in ", run.path, ", ", ranks,
                          ranks == 1 ? " rank" : " ranks",
                          next_step > 0 ? Cat(", continued at step ", next_step) : ""));
  return std::unique_ptr<Console>(new Console(std::move(impl)));
}

std::string Console::BlocksHash() {
  const size_t sets = impl_->active_sets.size();
  return Cat(impl_->blocks.Hex(), ", ", sets, sets == 1 ? " active set" : " active sets");
}

absl::Status Console::OnStep(const StepResult& step, double seconds) {
  return impl_->OnStep(step, seconds);
}
absl::Status Console::OnEval(int64_t step, const EvalResult& eval) {
  return impl_->OnEval(step, eval);
}
absl::Status Console::OnSave(const SaveReport& save) { return impl_->OnSave(save); }
void Console::OnNote(const std::string& text) { impl_->progress.Note(text); }

}  // namespace blockstep
