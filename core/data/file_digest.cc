#include "core/data/file_digest.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "core/base/errno_status.h"
#include "core/base/sha256.h"
#include "core/base/status.h"

namespace blockstep {
namespace {

constexpr int64_t kWholeBytes = int64_t{4} << 20;
constexpr int64_t kBlocks = 64, kBlockBytes = 4096;

absl::Status Add(int fd, const std::string& path, int64_t offset, int64_t bytes, Sha256& sha) {
  std::vector<char> block(static_cast<size_t>(std::min(bytes, int64_t{1} << 16)));
  for (const int64_t end = offset + bytes; offset < end;) {
    const int64_t wanted = std::min(static_cast<int64_t>(block.size()), end - offset);
    const ssize_t got = ::pread(fd, block.data(), static_cast<size_t>(wanted), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, Cat(path, ": cannot read"));
    if (got == 0) return DataLoss(path, ": truncated while open at byte ", offset);
    sha.Update(block.data(), static_cast<size_t>(got));
    offset += got;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> SampledSha256(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, Cat(path, ": cannot open"));
  struct stat info = {};
  Sha256 sha;
  absl::Status status;
  if (::fstat(fd, &info) != 0) status = ErrnoStatus(errno, Cat(path, ": cannot stat"));
  const int64_t size = info.st_size;
  sha.Update(Cat(size, "\n"));
  if (status.ok() && size <= kWholeBytes) status = Add(fd, path, 0, size, sha);
  for (int64_t b = 0; b < kBlocks && size > kWholeBytes && status.ok(); ++b) {
    // In whole steps first: size * b may not fit.
    const int64_t last = size - kBlockBytes, step = last / (kBlocks - 1);
    status = Add(fd, path, b == kBlocks - 1 ? last : b * step, kBlockBytes, sha);
  }
  ::close(fd);
  RETURN_IF_ERROR(status);
  return sha.Hex();
}

}  // namespace blockstep
