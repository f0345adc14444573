// Writes a token file (token_file.h) under a temporary name; Finish makes it appear whole.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/data/token_file.h"
#include "core/io/file_ops.h"

namespace blockstep {

struct TokenWriterOptions {
  std::string path;
  TokenLayout layout = TokenLayout::kLlmc;  // kLlmc or kRawUint16
  int64_t vocab_size = 0;                   // at most 65536: uint16, else uint32
};

class TokenWriter {
 public:
  // INVALID_ARGUMENT: the vocabulary does not fit the layout.
  static absl::StatusOr<TokenWriter> Create(const TokenWriterOptions& options);
  ~TokenWriter();  // without Finish: the temporary file is removed
  TokenWriter(TokenWriter&& other) = default;
  TokenWriter& operator=(TokenWriter&&) = delete;

  // INVALID_ARGUMENT: an id outside the vocabulary.
  absl::Status Append(absl::Span<const int32_t> ids);
  // Header, fsync, rename over `path`, fsync of the folder. Once.
  absl::Status Finish();

  int64_t tokens() const { return tokens_; }
  int64_t token_bytes() const { return token_bytes_; }
  const std::string& path() const { return options_.path; }

 private:
  TokenWriter() = default;
  absl::Status Flush();

  TokenWriterOptions options_;
  std::string temporary_;
  FileOps ops_;
  File file_;  // open until Finish
  int64_t token_bytes_ = 2;
  int64_t tokens_ = 0;
  int64_t offset_ = 0;        // bytes of the file before buffer_
  std::vector<char> buffer_;  // not yet written
};

}  // namespace blockstep
