#include "core/data/file_digest.h"

#include <algorithm>
#include <vector>

#include "core/base/math.h"
#include "core/base/sha256.h"
#include "core/base/status.h"
#include "core/io/file_ops.h"

namespace blockstep {
namespace {

constexpr int64_t kWholeBytes = int64_t{4} << 20;
constexpr int64_t kBlocks = 64, kBlockBytes = 4096;
constexpr int64_t kReadBytes = int64_t{1} << 20;

// The bytes of `range`; false: `go_on` said no before the end.
absl::StatusOr<bool> Add(const File& file, Range range, const std::function<bool()>& go_on,
                         Sha256& sha) {
  std::vector<char> block(static_cast<size_t>(std::min(range.size(), kReadBytes)));
  for (int64_t at = range.begin; at < range.end;) {
    if (!go_on()) return false;
    const int64_t bytes = std::min(kReadBytes, range.end - at);
    RETURN_IF_ERROR(file.Read(block.data(), bytes, at));
    sha.Update(block.data(), static_cast<size_t>(bytes));
    at += bytes;
  }
  return true;
}

absl::Status Add(const File& file, Range range, Sha256& sha) {
  return Add(
             file, range, [] { return true; }, sha)
      .status();
}

}  // namespace

absl::StatusOr<std::string> SampledSha256(const std::string& path) {
  ASSIGN_OR_RETURN(const File file, File::OpenInput(path));
  ASSIGN_OR_RETURN(const int64_t size, file.Size());
  Sha256 sha;
  sha.Update(Cat(size, "\n"));
  if (size <= kWholeBytes) RETURN_IF_ERROR(Add(file, {0, size}, sha));
  for (int64_t b = 0; b < kBlocks && size > kWholeBytes; ++b) {
    // In whole steps first: size * b may not fit.
    const int64_t last = size - kBlockBytes, step = last / (kBlocks - 1);
    const int64_t first = b == kBlocks - 1 ? last : b * step;
    RETURN_IF_ERROR(Add(file, {first, first + kBlockBytes}, sha));
  }
  return sha.Hex();
}

absl::StatusOr<std::optional<std::string>> FullSha256(const std::string& path,
                                                      const std::function<bool()>& go_on) {
  ASSIGN_OR_RETURN(const File file, File::OpenInput(path));
  ASSIGN_OR_RETURN(const int64_t size, file.Size());
  Sha256 sha;
  ASSIGN_OR_RETURN(const bool whole, Add(file, {0, size}, go_on, sha));
  if (!whole) return std::nullopt;
  return sha.Hex();
}

}  // namespace blockstep
