// The header of a safetensors file: 8 bytes of little-endian length, then that much JSON, then
// data. A header comes from outside and is believed in nothing: every size is checked against the
// file. https://github.com/huggingface/safetensors#format
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace blockstep {

struct SafetensorsEntry {
  std::string name;
  std::string dtype;  // as in the file: "F32", "BF16", "F16", "I64", ...
  std::vector<int64_t> shape;
  int64_t offset = 0;  // of its first byte in the file
  int64_t bytes = 0;

  int64_t rows() const { return shape.empty() ? 1 : shape[0]; }
  int64_t cols() const;  // product of the other dimensions
  int64_t row_bytes() const { return rows() == 0 ? 0 : bytes / rows(); }
};

inline constexpr int64_t kMaxSafetensorsHeader = int64_t{100} << 20;  // the official reader's limit

// Bytes of one element; 0: not a dtype of the format.
int64_t SafetensorsDTypeBytes(std::string_view dtype);

// Entries sorted by name. `json` is the header's text (without the length), `file_bytes` the size
// of the whole file, `where` names it in errors. INVALID_ARGUMENT: not a header; DATA_LOSS: the
// file is truncated. Refused: overlapping, out-of-range or misplaced data, holes, sizes that
// overflow or do not match dtype and shape, a name twice, JSON nested deeper than kJsonDepth.
absl::StatusOr<std::vector<SafetensorsEntry>> ParseSafetensorsHeader(std::string_view json,
                                                                     int64_t file_bytes,
                                                                     std::string_view where);

struct SafetensorsLayout {
  std::string header;                     // the length and the JSON: what the file starts with
  std::vector<SafetensorsEntry> entries;  // sorted by name, offset and bytes filled in
  int64_t file_bytes = 0;
};
// A file for `tensors` (name, dtype, shape) in the order of their names, with the metadata
// "format": "pt" that transformers asks for. The header is padded so that data starts at a multiple
// of 64 bytes.
SafetensorsLayout MakeSafetensorsLayout(std::vector<SafetensorsEntry> tensors);

}  // namespace blockstep
