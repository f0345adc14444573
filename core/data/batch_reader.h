// Slots of a token file as the inputs, targets and document bounds of a micro-step.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/data/slot_order.h"
#include "core/data/token_file.h"

namespace blockstep {

struct BatchReaderOptions {
  int64_t slot_tokens = 0;  // T
  SlotOrderKind order = SlotOrderKind::kShuffled;
  uint64_t seed = 0;  // of `shuffled`
  int32_t eos = -1;   // ends a document; needed where first_key is asked for
};

// Caller's buffers for B slots of T tokens.
struct BatchBuffers {
  int32_t* inputs = nullptr;   // (B*T) =
  int32_t* targets = nullptr;  // (B*T) =, the token after each input
  // (B*T) =, the slot position where the token's document starts: one after the last EOS before the
  // token, 0 where the slot has none. An EOS belongs to the document it ends. Null: not computed.
  int32_t* first_key = nullptr;
};

// What was read, for a ledger of the run's data. Slots of several files are numbered on: those of
// the first file, then those of the second.
struct SlotRecord {
  int64_t position = 0;
  SlotRef ref;
  int32_t file = 0;         // its number among the reader's files
  int64_t first_token = 0;  // in that file; T + 1 tokens from here on
};

class BatchReader {
 public:
  // INVALID_ARGUMENT: a file is too short for one slot.
  static absl::StatusOr<BatchReader> Create(std::vector<TokenFile> files,
                                            BatchReaderOptions options);
  static absl::StatusOr<BatchReader> Create(TokenFile file, BatchReaderOptions options);

  // Positions [begin, end) of the run's order into rows 0, 1, ... of `out`. An empty range is fine.
  absl::StatusOr<std::vector<SlotRecord>> Read(Range positions, const BatchBuffers& out) const;

  const SlotOrder& order() const { return order_; }
  int64_t slot_tokens() const { return options_.slot_tokens; }

 private:
  BatchReader(std::vector<TokenFile> files, std::vector<int64_t> first_slot,
              BatchReaderOptions options, SlotOrder order)
      : files_(std::move(files)),
        first_slot_(std::move(first_slot)),
        options_(options),
        order_(order) {}

  std::vector<TokenFile> files_;
  std::vector<int64_t> first_slot_;  // per file: the number of its first slot
  BatchReaderOptions options_;
  SlotOrder order_;
};

// first_key[p] for one slot of `tokens` inputs, as in BatchBuffers.
void DocumentBounds(const int32_t* inputs, int64_t tokens, int32_t eos, int32_t* first_key);

}  // namespace blockstep
