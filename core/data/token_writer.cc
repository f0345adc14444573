#include "core/data/token_writer.h"

#include <unistd.h>

#include <array>
#include <limits>

#include "core/base/check.h"
#include "core/base/status.h"

namespace blockstep {
namespace {

constexpr size_t kBufferBytes = 1 << 20;
constexpr int64_t kHeaderBytes = kTokenHeaderInts * 4;

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
  RETURN_IF_ERROR(writer.ops_.RemoveAll(writer.temporary_));
  ASSIGN_OR_RETURN(writer.file_, writer.ops_.Create(writer.temporary_));
  return writer;
}

TokenWriter::~TokenWriter() {
  if (file_.fd() >= 0) (void)ops_.RemoveAll(temporary_);
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
  const int64_t bytes = static_cast<int64_t>(buffer_.size());
  RETURN_IF_ERROR(ops_.Write(file_, buffer_.data(), bytes, offset_));
  offset_ += bytes;
  buffer_.clear();
  return absl::OkStatus();
}

absl::Status TokenWriter::Finish() {
  CHECK_GE(file_.fd(), 0);
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
    RETURN_IF_ERROR(ops_.Write(file_, header.data(), sizeof(header), 0));
  }
  RETURN_IF_ERROR(ops_.Fsync(file_));
  RETURN_IF_ERROR(ops_.Rename(temporary_, options_.path));
  file_ = File();
  return ops_.FsyncFolderOf(options_.path);  // the new name is durable only once the folder is
}

}  // namespace blockstep
