#include "core/data/token_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "core/base/check.h"
#include "core/base/status.h"

namespace blockstep {
namespace {

constexpr size_t kBufferBytes = 1 << 20;
constexpr int64_t kHeaderBytes = kTokenHeaderInts * 4;

bool WriteFully(int fd, const char* data, size_t bytes, int64_t offset) {
  while (bytes > 0) {
    const ssize_t put = ::pwrite(fd, data, bytes, offset);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return false;
    data += put;
    bytes -= static_cast<size_t>(put);
    offset += put;
  }
  return true;
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

absl::StatusOr<TokenWriter> TokenWriter::Create(const TokenWriterOptions& options) {
  CHECK_GT(options.vocab_size, 0);
  CHECK(options.layout != TokenLayout::kAuto);
  const bool wide = options.vocab_size > 65536;
  if (wide && options.layout == TokenLayout::kRawUint16) {
    return InvalidArgument("token file ", options.path,
                           ": expected a vocabulary of at most 65536 for raw uint16 ids, got ",
                           options.vocab_size);
  }
  TokenWriter writer;
  writer.options_ = options;
  writer.temporary_ = Cat(options.path, ".tmp.", ::getpid());
  writer.token_bytes_ = wide ? 4 : 2;
  writer.offset_ = options.layout == TokenLayout::kLlmc ? kHeaderBytes : 0;
  writer.fd_ = ::open(writer.temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (writer.fd_ < 0) return writer.Failed("cannot create");
  return writer;
}

TokenWriter::~TokenWriter() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

TokenWriter::TokenWriter(TokenWriter&& other) noexcept
    : options_(std::move(other.options_)),
      temporary_(std::move(other.temporary_)),
      fd_(std::exchange(other.fd_, -1)),
      token_bytes_(other.token_bytes_),
      tokens_(other.tokens_),
      offset_(other.offset_),
      buffer_(std::move(other.buffer_)) {}

absl::Status TokenWriter::Failed(const char* what) const {
  return ErrnoStatus(errno, Cat("token file ", temporary_, ": ", what));
}

absl::Status TokenWriter::Append(absl::Span<const int32_t> ids) {
  for (const int32_t id : ids) {
    if (id < 0 || id >= options_.vocab_size) {
      return InvalidArgument("token file ", options_.path, ": token ", tokens_,
                             ": expected an id below the vocabulary size ", options_.vocab_size,
                             ", got ", id);
    }
    const char* const bytes = reinterpret_cast<const char*>(&id);
    buffer_.insert(buffer_.end(), bytes, bytes + token_bytes_);
    ++tokens_;
    if (buffer_.size() >= kBufferBytes) RETURN_IF_ERROR(Flush());
  }
  return absl::OkStatus();
}

absl::Status TokenWriter::Flush() {
  if (!WriteFully(fd_, buffer_.data(), buffer_.size(), offset_)) return Failed("cannot write");
  offset_ += static_cast<int64_t>(buffer_.size());
  buffer_.clear();
  return absl::OkStatus();
}

absl::Status TokenWriter::Finish() {
  CHECK_GE(fd_, 0);
  RETURN_IF_ERROR(Flush());
  if (options_.layout == TokenLayout::kLlmc) {
    if (tokens_ > std::numeric_limits<int32_t>::max()) {
      return InvalidArgument(
          "token file ", options_.path,
          ": expected at most 2^31 - 1 tokens (the header's count is an int32), got ", tokens_,
          "; split the input over several files");
    }
    std::array<int32_t, kTokenHeaderInts> header = {};
    header[0] = token_bytes_ == 2 ? kTokenMagicUint16 : kTokenMagicUint32;
    header[1] = token_bytes_ == 2 ? kTokenVersionUint16 : kTokenVersionUint32;
    header[2] = static_cast<int32_t>(tokens_);
    if (!WriteFully(fd_, reinterpret_cast<const char*>(header.data()), sizeof(header), 0)) {
      return Failed("cannot write the header");
    }
  }
  if (::fsync(fd_) != 0) return Failed("cannot fsync");
  if (::rename(temporary_.c_str(), options_.path.c_str()) != 0) return Failed("cannot rename");
  ::close(std::exchange(fd_, -1));
  // The new name is durable only once the folder is.
  const int folder = ::open(FolderOf(options_.path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0 || ::fsync(folder) != 0) {
    absl::Status status = Failed("cannot fsync its folder");
    if (folder >= 0) ::close(folder);
    return status;
  }
  ::close(folder);
  return absl::OkStatus();
}

}  // namespace blockstep
