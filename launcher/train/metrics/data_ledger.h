// <run>/ledger/rank-00000.jsonl: which slots of the data each rank read at which step, a line each:
//   {"step":7,"pass":0,"position":45,"epoch":1,"slot":8,"file":0,"first_token":128}
// A step that measures before it trains (the sweep of blockllm) passes over its slots more than
// once: `pass` 1, 2, ... are of the same step. `position` counts slots over the whole run, `file`
// the files of data.train. All files together show whether a run used every token once, however
// often and on however many ranks it was continued: tests/e2e/check_ledger.py.
#pragma once

#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "core/data/batch_reader.h"
#include "launcher/train/metrics/json_lines.h"

namespace blockstep {

struct DataLedgerOptions {
  std::string folder;
  int rank = 0;
  int ranks = 1;
  int64_t next_step = 0;  // what was read for it and later ones did not become weights
};

class DataLedger {
 public:
  // Truncates what is there to `next_step`: this rank's file, and those of ranks that are no more,
  // dealt among the ranks that are.
  static absl::StatusOr<DataLedger> Open(const DataLedgerOptions& options);

  // What one pass over a step's slots has read, of this rank.
  absl::Status Write(int64_t step, std::span<const SlotRecord> slots);

 private:
  explicit DataLedger(JsonLinesWriter lines) : lines_(std::move(lines)) {}
  JsonLinesWriter lines_;
  int64_t step_ = -1, pass_ = 0;  // of the last line
};

}  // namespace blockstep
