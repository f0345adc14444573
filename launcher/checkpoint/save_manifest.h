// What the ranks wrote of a save, as text that travels and as the manifest.
#pragma once

#include <string>
#include <vector>

#include "launcher/checkpoint/layout.h"
#include "launcher/checkpoint/manifest.h"

namespace blockstep {

struct WrittenSlice {
  int tensor = 0;  // index into CheckpointLayout::tensors
  Range rows;
  std::string sha256;
};

std::string SlicesText(const std::vector<WrittenSlice>& slices);

// INTERNAL: the ranks' slices do not tile a tensor.
absl::StatusOr<Manifest> MakeManifest(const CheckpointContents& contents,
                                      const CheckpointLayout& layout,
                                      const std::vector<ManifestFile>& small_files,
                                      const std::vector<std::string>& slices_of_ranks);

}  // namespace blockstep
