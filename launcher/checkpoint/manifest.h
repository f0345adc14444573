// MANIFEST.json: what a checkpoint consists of, with a SHA-256 for every byte. Slices are logical
// rows of logical tensors; where writers' ranges met shows only in where slices begin, which no
// reader relies on.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/math.h"
#include "core/step/update_rule.h"
#include "launcher/checkpoint/layout.h"

namespace blockstep {

inline constexpr int kManifestVersion = 1;
inline constexpr char kManifestName[] = "MANIFEST.json";

struct ManifestSlice {
  Range rows;  // absolute
  std::string sha256;
};

struct ManifestTensor {
  std::string name;   // the parameter's
  std::string state;  // empty: the weight itself
  int tensor = 0;     // index of the parameter among the weights
  StateLayout layout = StateLayout::kLikeTensor;
  DType dtype = DType::kF32;
  Range entry_rows;  // states: rows of the entry; weights: all
  Range rows;        // that the file has; kReplicated: [0, 1)
  int64_t cols = 0;
  int file = 0;
  int64_t offset = 0;
  std::vector<ManifestSlice> slices;  // ascending, tile `rows`
  int64_t row_bytes() const { return cols * DTypeSize(dtype); }
};

struct ManifestFile {
  std::string name;  // relative to the checkpoint's folder
  int64_t bytes = 0;
  // Of a safetensors file only its header: slices cover the rest.
  int64_t hashed_bytes = 0;
  std::string sha256;
};

struct Manifest {
  int64_t step = 0;
  std::string run_id;
  std::string config_hash;
  std::vector<ManifestFile> files;
  std::vector<ManifestTensor> tensors;  // weights in the table's order first
};

// What one rank wrote of a save, as text that travels.
struct WrittenSlice {
  int tensor = 0;  // index into CheckpointLayout::tensors
  Range rows;
  std::string sha256;
};

std::string SlicesText(const std::vector<WrittenSlice>& slices);

// The manifest of a save from all ranks' texts. INTERNAL: the ranks' slices do not tile a tensor.
absl::StatusOr<Manifest> MakeManifest(const CheckpointContents& contents,
                                      const CheckpointLayout& layout,
                                      const std::vector<ManifestFile>& small_files,
                                      const std::vector<std::string>& slices_of_ranks);

std::string ManifestJson(const Manifest& manifest);

// The manifest of `folder`, checked: its own hash, paths that stay inside, slices that tile, data
// inside the files. NOT_FOUND: there is none; DATA_LOSS: damaged; FAILED_PRECONDITION: another
// version.
absl::StatusOr<Manifest> ReadManifest(const std::string& folder);

// Slices ascend and tile `rows` without hole or overlap; the error names the first row that fails.
absl::Status CheckTiling(const ManifestTensor& tensor, std::string_view where);

absl::StatusOr<DType> ParseDType(std::string_view name, std::string_view where);

}  // namespace blockstep
