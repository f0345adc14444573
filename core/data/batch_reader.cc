#include "core/data/batch_reader.h"

#include <algorithm>
#include <utility>

#include "core/base/check.h"
#include "core/base/status.h"

namespace blockstep {

absl::StatusOr<BatchReader> BatchReader::Create(TokenFile file, BatchReaderOptions options) {
  std::vector<TokenFile> files;
  files.push_back(std::move(file));
  return Create(std::move(files), options);
}

absl::StatusOr<BatchReader> BatchReader::Create(std::vector<TokenFile> files,
                                                BatchReaderOptions options) {
  CHECK_GT(options.slot_tokens, 0);
  CHECK(!files.empty());
  std::vector<int64_t> first_slot;
  int64_t slots = 0;
  for (const TokenFile& file : files) {
    const int64_t in_file = SlotsInFile(file.tokens(), options.slot_tokens);
    if (in_file == 0) {
      return DataLoss("token file ", file.path(), ": too short for one slot: expected at least ",
                      options.slot_tokens + 1, " tokens (sequence length + 1), got ",
                      file.tokens());
    }
    first_slot.push_back(slots);
    slots += in_file;
  }
  return BatchReader(std::move(files), std::move(first_slot), options,
                     SlotOrder(options.order, slots, options.seed));
}

absl::StatusOr<std::vector<SlotRecord>> BatchReader::Read(Range positions,
                                                          const BatchBuffers& out) const {
  const int64_t tokens = options_.slot_tokens;
  std::vector<SlotRecord> record;
  record.reserve(std::max<int64_t>(positions.size(), 0));
  for (int64_t position = positions.begin; position < positions.end; ++position) {
    const SlotRef ref = order_.At(position);
    const int64_t row = (position - positions.begin) * tokens;
    const size_t f = std::upper_bound(first_slot_.begin(), first_slot_.end(), ref.slot) -
                     first_slot_.begin() - 1;
    const int64_t first = (ref.slot - first_slot_[f]) * tokens;
    int32_t* const inputs = out.inputs + row;
    int32_t* const targets = out.targets + row;
    // Targets are the slot's last T tokens, inputs its first T: one read and one extra token.
    RETURN_IF_ERROR(files_[f].Read(first, absl::MakeSpan(inputs, tokens)));
    RETURN_IF_ERROR(files_[f].Read(first + tokens, absl::MakeSpan(targets + tokens - 1, 1)));
    std::copy(inputs + 1, inputs + tokens, targets);
    if (out.first_key != nullptr) {
      CHECK_GE(options_.eos, 0);
      DocumentBounds(inputs, tokens, options_.eos, out.first_key + row);
    }
    record.push_back({position, ref, static_cast<int32_t>(f), first});
  }
  return record;
}

void DocumentBounds(const int32_t* inputs, int64_t tokens, int32_t eos, int32_t* first_key) {
  int32_t start = 0;
  for (int64_t p = 0; p < tokens; ++p) {
    if (p > 0 && inputs[p - 1] == eos) start = static_cast<int32_t>(p);
    first_key[p] = start;
  }
}

}  // namespace blockstep
