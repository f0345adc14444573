// metrics.jsonl: one JSON object per step or evaluation. Opened at a step, it drops what a run that
// died had written beyond its checkpoint, so that each is there once.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace blockstep {

// The numbers of one step, as every writer gets them.
struct StepMetrics {
  // Of a step: its index. Of an evaluation: how many steps are done. So numbers of one value of it
  // belong to the same weights.
  int64_t step = 0;
  // Ordered name -> value: "loss", "lr", "tokens_per_second", "grad_norm", "eval/loss".
  std::vector<std::pair<std::string, double>> values;
  std::string block;  // label of the active set: "layer 3"
};

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
