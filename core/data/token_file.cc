#include "core/data/token_file.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "core/base/check.h"
#include "core/base/status.h"

namespace blockstep {
namespace {

static_assert(std::endian::native == std::endian::little, "token files are little-endian");

constexpr int64_t kHeaderBytes = kTokenHeaderInts * 4;
constexpr int64_t kChunk = 1 << 14;  // tokens read at once where their number is large

TokenLayout ResolveLayout(const TokenFileOptions& options) {
  if (options.layout != TokenLayout::kAuto) return options.layout;
  const bool raw = options.path.ends_with(".raw") || options.path.ends_with(".u16");
  return raw ? TokenLayout::kRawUint16 : TokenLayout::kLlmc;
}

// Bytes read, fewer than asked only at the end of the file; -1: errno says why.
int64_t ReadFully(int fd, void* data, int64_t bytes, int64_t offset) {
  int64_t done = 0;
  while (done < bytes) {
    const ssize_t got = ::pread(fd, static_cast<char*>(data) + done, bytes - done, offset + done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) break;
    done += got;
  }
  return done;
}

absl::Status Failed(const std::string& path, const char* what) {
  return ErrnoStatus(errno, Cat("token file ", path, ": ", what));
}

}  // namespace

absl::StatusOr<TokenFile> TokenFile::Open(const TokenFileOptions& options) {
  CHECK_GT(options.vocab_size, 0);
  TokenFile file;
  file.vocab_size_ = options.vocab_size;
  absl::StatusOr<File> opened = File::OpenInput(options.path);
  if (!opened.ok()) return Annotate(opened.status(), "token file");
  file.file_ = *std::move(opened);
  ASSIGN_OR_RETURN(const int64_t bytes, file.file_.Size());
  if (ResolveLayout(options) == TokenLayout::kLlmc) {
    RETURN_IF_ERROR(file.ReadHeader(bytes));
    return file;
  }
  if (bytes % 2 != 0) {
    return DataLoss("token file ", options.path,
                    ": expected an even number of bytes (raw uint16 ids), got ", bytes);
  }
  file.token_bytes_ = 2;
  file.tokens_ = bytes / 2;
  return file;
}

absl::Status TokenFile::ReadHeader(int64_t file_bytes) {
  if (file_bytes < kHeaderBytes) {
    return DataLoss("token file ", path(), ": expected a header of ", kHeaderBytes,
                    " bytes, got a file of ", file_bytes,
                    "; headerless files must end in .raw or .u16 (a link will do)");
  }
  std::array<int32_t, 3> header = {};
  if (ReadFully(file_.fd(), header.data(), sizeof(header), 0) != sizeof(header)) {
    return Failed(path(), "cannot read the header");
  }
  const auto [magic, version, count] = header;
  if (magic != kTokenMagicUint16 && magic != kTokenMagicUint32) {
    return DataLoss("token file ", path(), ": expected magic ", kTokenMagicUint16, " (uint16) or ",
                    kTokenMagicUint32, " (uint32), got ", magic,
                    "; headerless files must end in .raw or .u16 (a link will do)");
  }
  const bool wide = magic == kTokenMagicUint32;
  const int32_t wanted = wide ? kTokenVersionUint32 : kTokenVersionUint16;
  if (version != wanted) {
    return DataLoss("token file ", path(), ": expected version ", wanted, " for magic ", magic,
                    ", got ", version);
  }
  token_bytes_ = wide ? 4 : 2;
  tokens_ = count;
  offset_ = kHeaderBytes;
  const int64_t wanted_bytes = kHeaderBytes + tokens_ * token_bytes_;
  if (count < 0 || wanted_bytes < file_bytes) {
    return DataLoss("token file ", path(), ": expected ", count, " tokens of ", token_bytes_,
                    " bytes after the header, got ", file_bytes - kHeaderBytes, " bytes");
  }
  if (wanted_bytes > file_bytes) {
    return DataLoss("token file ", path(), ": truncated: expected ", count,
                    " tokens (header), got ", (file_bytes - kHeaderBytes) / token_bytes_);
  }
  return absl::OkStatus();
}

absl::Status TokenFile::Read(int64_t first, absl::Span<int32_t> ids) const {
  const int64_t count = static_cast<int64_t>(ids.size());
  CHECK_GE(first, 0);
  CHECK_LE(first + count, tokens_);
  // The narrow ids land in the upper half of `ids` and are widened upwards, in place: reading needs
  // no memory of its own.
  char* const raw = reinterpret_cast<char*>(ids.data()) + count * (4 - token_bytes_);
  const int64_t got =
      ReadFully(file_.fd(), raw, count * token_bytes_, offset_ + first * token_bytes_);
  if (got < 0) return Failed(path(), "cannot read");
  if (got < count * token_bytes_) {
    return DataLoss("token file ", path(), ": truncated while open: expected ", tokens_,
                    " tokens, got ", first + got / token_bytes_);
  }
  for (int64_t i = 0; i < count; ++i) {
    uint32_t id = 0;
    std::memcpy(&id, raw + i * token_bytes_, token_bytes_);
    if (id >= static_cast<uint64_t>(vocab_size_)) {
      return DataLoss("token file ", path(), ": token ", first + i,
                      ": expected an id below the vocabulary size ", vocab_size_, ", got ", id);
    }
    ids[i] = static_cast<int32_t>(id);
  }
  return absl::OkStatus();
}

absl::Status TokenFile::CheckIds(Range tokens) const {
  std::vector<int32_t> ids(kChunk);
  for (int64_t first = tokens.begin; first < tokens.end; first += kChunk) {
    RETURN_IF_ERROR(Read(first, absl::MakeSpan(ids.data(), std::min(kChunk, tokens.end - first))));
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> TokenFile::Holds(int32_t id, int64_t tokens) const {
  std::vector<int32_t> ids(kChunk);
  const int64_t end = std::min(tokens, tokens_);
  for (int64_t first = 0; first < end; first += kChunk) {
    const absl::Span<int32_t> chunk = absl::MakeSpan(ids.data(), std::min(kChunk, end - first));
    RETURN_IF_ERROR(Read(first, chunk));
    if (std::find(chunk.begin(), chunk.end(), id) != chunk.end()) return true;
  }
  return false;
}

}  // namespace blockstep
