#include "launcher/apps/console.h"

#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <optional>

#include "core/base/sha256.h"
#include "core/base/status.h"
#include "launcher/trainer/metrics/json_lines.h"
#include "launcher/trainer/metrics/progress.h"
#include "launcher/trainer/metrics/tensorboard.h"

namespace blockstep {

struct Console::Impl {
  Impl(const TrainConfig& config, int64_t next_step)
      : config(config),
        progress({.total_steps = config.train.steps,
                  .first_step = next_step,
                  .terminal = isatty(STDERR_FILENO) != 0,
                  .plain_every = std::max<int64_t>(1, config.log.every_steps)},
                 stderr) {}

  absl::Status Write(const StepMetrics& metrics) {
    RETURN_IF_ERROR(lines->Write(metrics));
    return board.has_value() ? board->Write(metrics) : absl::OkStatus();
  }

  absl::Status OnStep(const StepResult& step, double seconds_of_step) {
    const StepReport& report = step.report;
    const double count = report.tokens > 0 ? static_cast<double>(report.tokens) : 1.0;
    const double loss = report.loss_sum / count;
    blocks.Update(Cat(report.step, " ", step.phase));
    for (const TensorNorm& norm : report.norms) {
      blocks.Update(Cat(" ", norm.tensor, ":", static_cast<int>(norm.role), ":", norm.elements));
    }
    seconds += seconds_of_step;
    tokens += report.tokens;
    progress.Step({.step = report.step,
                   .loss = loss,
                   .lr = step.learning_rate,
                   .block = step.label,
                   .seconds = seconds,
                   .tokens = tokens});
    if (report.nonfinite > 0) {
      progress.Note(Cat("step ", report.step, ": ", report.nonfinite,
                        " non-finite values; nothing was updated"));
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
    // Numbers of an evaluation before step s belong to the last step that was done.
    return Write({.step = step > 0 ? step - 1 : 0,
                  .values = {{"eval/loss", eval.Loss()}, {"eval/perplexity", eval.Perplexity()}}});
  }

  absl::Status OnSave(const CheckpointInfo& info, double seconds_of_save) {
    progress.Note(Cat("checkpoint ", info.folder, ", ", info.bytes, " bytes in ",
                      static_cast<int64_t>(seconds_of_save * 1000), " ms"));
    return absl::OkStatus();
  }

  TrainConfig config;
  ProgressPrinter progress;
  std::optional<JsonLinesWriter> lines;
  std::optional<TensorBoardWriter> board;
  double seconds = 0;
  int64_t tokens = 0;
  Sha256 blocks;  // of what was active at each step since this start
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
  }
  impl->progress.Note(Cat("run ", run.run_id, " in ", run.path, ", ", ranks,
                          ranks == 1 ? " rank" : " ranks",
                          next_step > 0 ? Cat(", continued at step ", next_step) : ""));
  return std::unique_ptr<Console>(new Console(std::move(impl)));
}

std::string Console::BlocksHash() { return impl_->blocks.Hex(); }

void Console::Note(const std::string& text) { impl_->progress.Note(text); }

TrainEvents Console::Events() {
  Impl* impl = impl_.get();
  return {.on_step = [impl](const StepResult& s, double t) { return impl->OnStep(s, t); },
          .on_eval = [impl](int64_t s, const EvalResult& e) { return impl->OnEval(s, e); },
          .on_save = [impl](const CheckpointInfo& i, double t) { return impl->OnSave(i, t); }};
}

}  // namespace blockstep
