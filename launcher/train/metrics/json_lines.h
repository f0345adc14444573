// metrics.jsonl: one JSON object per step or evaluation. Opened at a step, it drops what a run that
// died had written beyond its checkpoint, so that each is there once.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "launcher/train/metrics/step_metrics.h"

namespace blockstep {

class JsonLinesWriter {
 public:
  // Keeps whole lines whose "step" is below `next_step`, truncates the file there, appends from
  // then on. An evaluation at `next_step` was done before the checkpoint and stays, too; at 0 there
  // is none. A torn last line goes. A missing file is created.
  static absl::StatusOr<JsonLinesWriter> Open(const std::string& path, int64_t next_step);
  JsonLinesWriter(JsonLinesWriter&& other) noexcept;
  ~JsonLinesWriter();

  // One line, in one write: whole or, with an error, not there. Non-finite values become null, as
  // JSON has none.
  absl::Status Write(const StepMetrics& metrics);
  // The evaluation at next_step that Open kept.
  const std::optional<StepMetrics>& kept_evaluation() const { return kept_evaluation_; }

 private:
  JsonLinesWriter(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  int fd_;
  std::string path_;
  std::optional<StepMetrics> kept_evaluation_;
};

// {"step":7,"loss":2.5,"block":"layer 3"}
std::string MetricsJson(const StepMetrics& metrics);

}  // namespace blockstep
