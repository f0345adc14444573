#include "launcher/checkpoint/slice_reader.h"

#include <cstring>

#include "core/base/sha256.h"
#include "core/base/status.h"

namespace blockstep {

std::string Label(const ManifestTensor& tensor) {
  return tensor.state.empty() ? tensor.name : Cat(tensor.name, " state ", tensor.state);
}

absl::Status SliceReader::CheckSizes() const {
  for (const ManifestFile& file : manifest_->files) {
    const std::string path = folder_ + "/" + file.name;
    absl::StatusOr<File> in = File::OpenInput(path);
    if (absl::IsNotFound(in.status())) {
      return DataLoss("checkpoint ", folder_, ": missing file ", file.name,
                      ", which the manifest lists");
    }
    RETURN_IF_ERROR(in.status());
    ASSIGN_OR_RETURN(const int64_t size, in->Size());
    if (size != file.bytes) {
      return DataLoss(path, ": ", size < file.bytes ? "truncated: " : "grown: ", "expected ",
                      file.bytes, " bytes, got ", size);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> SliceReader::Hashed(const ManifestFile& file) const {
  ASSIGN_OR_RETURN(const File in, File::OpenInput(folder_ + "/" + file.name));
  std::string text(static_cast<size_t>(file.hashed_bytes), '\0');
  RETURN_IF_ERROR(in.Read(text.data(), file.hashed_bytes, 0));
  Sha256 sha;
  sha.Update(text);
  if (const std::string found = sha.Hex(); found != file.sha256) {
    return DataLoss(in.path(), ": corrupt: its first ", file.hashed_bytes,
                    " bytes: expected sha256 ", file.sha256, ", got ", found);
  }
  return text;
}

absl::StatusOr<const File*> SliceReader::Opened(int file) {
  auto found = open_.find(file);
  if (found == open_.end()) {
    const std::string path = folder_ + "/" + manifest_->files[static_cast<size_t>(file)].name;
    ASSIGN_OR_RETURN(File in, File::OpenInput(path));
    found = open_.emplace(file, std::move(in)).first;
  }
  return &found->second;
}

absl::Status SliceReader::ForSlices(const ManifestTensor& tensor, Range rows, const UseSlice& use) {
  for (const ManifestSlice& slice : tensor.slices) {
    if (Intersect(slice.rows, rows).empty()) continue;
    ASSIGN_OR_RETURN(const File* file, Opened(tensor.file));
    const int64_t bytes = slice.rows.size() * tensor.row_bytes();
    const int64_t offset =
        tensor.offset + (slice.rows.begin - tensor.rows.begin) * tensor.row_bytes();
    buffer_.resize(static_cast<size_t>(bytes));
    RETURN_IF_ERROR(file->Read(buffer_.data(), bytes, offset));
    Sha256 sha;
    sha.Update(buffer_.data(), buffer_.size());
    if (const std::string found = sha.Hex(); found != slice.sha256) {
      return DataLoss(file->path(), ": corrupt: ", Label(tensor), " rows [", slice.rows.begin, ",",
                      slice.rows.end, ") (bytes ", offset, " to ", offset + bytes,
                      "): expected sha256 ", slice.sha256, ", got ", found);
    }
    RETURN_IF_ERROR(use(slice.rows, {buffer_.data(), buffer_.size()}));
  }
  return absl::OkStatus();
}

absl::Status SliceReader::ReadRows(const ManifestTensor& tensor, int64_t row0, TensorView view,
                                   const DeviceAccess& access) {
  CHECK_EQ(view.cols, tensor.cols);
  CHECK(view.dtype == tensor.dtype);
  const Range wanted{row0, row0 + view.rows};
  const int64_t row_bytes = tensor.row_bytes();
  return ForSlices(tensor, wanted, [&](Range rows, std::span<const char> bytes) {
    const Range both = Intersect(rows, wanted);
    const char* from = bytes.data() + (both.begin - rows.begin) * row_bytes;
    return access.Fill(view.Rows(both.begin - row0, both.end - row0),
                       [&](TensorView part, int64_t first) {
                         for (int64_t r = 0; r < part.rows; ++r) {
                           std::memcpy(part.Rows(r, r + 1).data, from + (first + r) * row_bytes,
                                       static_cast<size_t>(row_bytes));
                         }
                         return absl::OkStatus();
                       });
  });
}

}  // namespace blockstep
