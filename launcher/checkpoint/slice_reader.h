// Rows out of a checkpoint, never unverified: a slice is read whole, hashed, and only then used.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/math.h"
#include "core/io/file_ops.h"
#include "core/tensor/device_access.h"
#include "launcher/checkpoint/manifest.h"

namespace blockstep {

class SliceReader {
 public:
  SliceReader(std::string folder, const Manifest* manifest)
      : folder_(std::move(folder)), manifest_(manifest) {}

  // Every file is there in its stated size.
  absl::Status CheckSizes() const;
  // A small file's whole content, or a safetensors file's header.
  absl::StatusOr<std::string> Hashed(const ManifestFile& file) const;

  // Calls `use` with the bytes of every slice that meets `rows`, in order.
  using UseSlice = std::function<absl::Status(Range rows, std::span<const char> bytes)>;
  absl::Status ForSlices(const ManifestTensor& tensor, Range rows, const UseSlice& use);
  // Absolute rows [row0 + ..) of `tensor` into `view` =, as many as meet.
  absl::Status ReadRows(const ManifestTensor& tensor, int64_t row0, TensorView view,
                        const DeviceAccess& access);

 private:
  absl::StatusOr<const File*> Opened(int file);
  std::string folder_;
  const Manifest* manifest_;
  std::map<int, File> open_;
  std::vector<char> buffer_;
};

// "<tensor>" or "<tensor> state <name>".
std::string Label(const ManifestTensor& tensor);

}  // namespace blockstep
