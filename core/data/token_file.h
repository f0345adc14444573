// A file of token ids, read with pread: a mapped file that is truncated would kill the process, and
// mapped pages would count as memory.
//
// Layouts, little-endian:
//  llm.c  256 int32 of header {magic, version, count}, then count ids: magic 20240520, version 1 is
//         uint16; magic 20240801, version 7 is uint32. The count must match the file's size.
//  raw    uint16 ids and nothing else (nanoGPT's train.bin). Having no header, it is never guessed
//         from content: kAuto takes a name ending in .raw or .u16 for raw and any other for llm.c.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/math.h"
#include "core/io/file_ops.h"

namespace blockstep {

enum class TokenLayout : uint8_t { kAuto, kLlmc, kRawUint16 };

inline constexpr int32_t kTokenHeaderInts = 256;
inline constexpr int32_t kTokenMagicUint16 = 20240520;
inline constexpr int32_t kTokenMagicUint32 = 20240801;
inline constexpr int32_t kTokenVersionUint16 = 1;
inline constexpr int32_t kTokenVersionUint32 = 7;

struct TokenFileOptions {
  std::string path;
  TokenLayout layout = TokenLayout::kAuto;
  int64_t vocab_size = 0;  // every id read is in [0, vocab_size)
};

class TokenFile {
 public:
  // NOT_FOUND: no such file; DATA_LOSS: no regular file, not this layout, or truncated.
  static absl::StatusOr<TokenFile> Open(const TokenFileOptions& options);

  const std::string& path() const { return file_.path(); }
  int64_t tokens() const { return tokens_; }
  int64_t token_bytes() const { return token_bytes_; }  // 2 or 4
  int64_t vocab_size() const { return vocab_size_; }

  // ids = tokens [first, first + ids.size()), a range inside the file. Any number of threads.
  // DATA_LOSS: the file shrank since Open, or an id outside the vocabulary.
  absl::Status Read(int64_t first, absl::Span<int32_t> ids) const;
  // Reads `tokens` for their ids alone: what Read would refuse is found before it is needed.
  absl::Status CheckIds(Range tokens) const;
  // Whether `id` is among the first `tokens` tokens; reads up to it.
  absl::StatusOr<bool> Holds(int32_t id, int64_t tokens) const;

 private:
  TokenFile() = default;
  absl::Status ReadHeader(int64_t file_bytes);

  File file_;
  int64_t tokens_ = 0;
  int64_t token_bytes_ = 0;
  int64_t offset_ = 0;  // bytes before the first id
  int64_t vocab_size_ = 0;
};

}  // namespace blockstep
