// Weights in safetensors files, read row range by row range with pread: a
// mapped file that is truncated kills the process, and mapped pages inflate the peak.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/math.h"
#include "core/data/safetensors_header.h"
#include "core/io/file_ops.h"
#include "core/tensor/tensor_table.h"

namespace blockstep {

// One file, open for reading. ReadRows may be called by any number of threads.
class SafetensorsFile {
 public:
  // NOT_FOUND: no such file; INVALID_ARGUMENT, DATA_LOSS: see ParseSafetensorsHeader.
  static absl::StatusOr<SafetensorsFile> Open(const std::string& path);

  const std::string& path() const { return file_.path(); }
  const std::vector<SafetensorsEntry>& entries() const { return entries_; }  // sorted by name
  const SafetensorsEntry* Find(std::string_view name) const;                 // null: there is none

  // Rows [begin, end) of `name`, (rows, cols) fp32, into out =. F32, BF16 and F16 are read; another
  // dtype is refused by name.
  absl::Status ReadRows(std::string_view name, Range rows, float* out) const;

 private:
  SafetensorsFile() = default;
  File file_;
  std::vector<SafetensorsEntry> entries_;
};

// A Hugging Face folder: model.safetensors, or the files that model.safetensors.index.json names.
class SafetensorsFolder {
 public:
  static absl::StatusOr<SafetensorsFolder> Open(const std::string& folder);

  const std::string& path() const { return path_; }
  std::vector<std::string> Files() const;  // paths, in the order of their names
  const SafetensorsEntry* Find(std::string_view name) const;
  absl::Status ReadRows(std::string_view name, Range rows, float* out) const;

  // Every tensor of the table is here in its shape, and nothing else is; all differences by name.
  // As in transformers, lm_head.weight beside tied weights and rotary_emb.inv_freq are ignored.
  absl::Status Matches(const TensorTable& table) const;

 private:
  const SafetensorsFile* FileOf(std::string_view name) const;
  std::string path_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, size_t, std::less<>> file_of_;  // name -> index in files_
};

// The entries that a table's tensors have in a file: vectors are 1-D.
SafetensorsEntry EntryOf(const TensorInfo& tensor, std::string dtype = "F32");

float HalfToFloat(uint16_t half);  // IEEE binary16

}  // namespace blockstep
