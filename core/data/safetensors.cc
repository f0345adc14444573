#include "core/data/safetensors.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/base/check.h"
#include "core/base/status.h"

namespace blockstep {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors are little-endian");

absl::Status ReadAt(const File& file, void* data, int64_t bytes, int64_t offset) {
  const std::string& path = file.path();
  for (int64_t done = 0; done < bytes;) {
    const ssize_t got =
        ::pread(file.fd(), static_cast<char*>(data) + done, bytes - done, offset + done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, Cat(path, ": cannot read"));
    if (got == 0) {
      return DataLoss(path, ": truncated: expected ", bytes, " bytes at offset ", offset, ", got ",
                      done);
    }
    done += got;
  }
  return absl::OkStatus();
}

void Widen(const std::string& dtype, int64_t count, float* values) {
  // The narrow values lie in the upper half of `values`; widening upwards never overtakes them.
  const auto* narrow = reinterpret_cast<const char*>(values) + count * 2;
  for (int64_t i = 0; i < count; ++i) {
    uint16_t word;
    std::memcpy(&word, narrow + 2 * i, 2);
    values[i] = dtype == "F16" ? HalfToFloat(word)
                               : std::bit_cast<float>(static_cast<uint32_t>(word) << 16);
  }
}

}  // namespace

float HalfToFloat(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = (half >> 10) & 31, mantissa = half & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24, exact
    const float value = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -value : value;
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

SafetensorsEntry EntryOf(const TensorInfo& tensor, std::string dtype) {
  SafetensorsEntry entry{.name = tensor.name, .dtype = std::move(dtype), .shape = {tensor.rows}};
  if (!tensor.vector) entry.shape.push_back(tensor.cols);
  return entry;
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  SafetensorsFile file;
  ASSIGN_OR_RETURN(file.file_, File::OpenInput(path));
  ASSIGN_OR_RETURN(const int64_t bytes, file.file_.Size());
  uint64_t length = 0;
  if (bytes < 8) return DataLoss(path, ": expected at least 8 bytes, got ", bytes);
  RETURN_IF_ERROR(ReadAt(file.file_, &length, sizeof length, 0));
  if (length > kMaxSafetensorsHeader) {
    return DataLoss(path, ": expected a header of at most ", kMaxSafetensorsHeader, " bytes, got ",
                    length, "; is this a safetensors file?");
  }
  if (static_cast<int64_t>(length) > bytes - 8) {
    return DataLoss(path, ": truncated: expected a header of ", length, " bytes, got a file of ",
                    bytes);
  }
  std::string text(length, '\0');
  RETURN_IF_ERROR(ReadAt(file.file_, text.data(), static_cast<int64_t>(length), 8));
  ASSIGN_OR_RETURN(file.entries_, ParseSafetensorsHeader(text, bytes, path));
  return file;
}

const SafetensorsEntry* SafetensorsFile::Find(std::string_view name) const {
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), name,
                                   [](const auto& e, std::string_view n) { return e.name < n; });
  return at == entries_.end() || at->name != name ? nullptr : &*at;
}

absl::Status SafetensorsFile::ReadRows(std::string_view name, Range rows, float* out) const {
  const SafetensorsEntry* entry = Find(name);
  if (entry == nullptr) return NotFound(path(), ": no tensor ", name);
  CHECK_LE(0, rows.begin);
  CHECK_LE(rows.begin, rows.end);
  CHECK_LE(rows.end, entry->rows());
  if (entry->dtype != "F32" && entry->dtype != "BF16" && entry->dtype != "F16") {
    return DataLoss(path(), ": tensor ", name, ": expected dtype F32, BF16 or F16, got ",
                    entry->dtype);
  }
  const int64_t count = rows.size() * entry->cols();
  const int64_t bytes = rows.size() * entry->row_bytes();
  char* at = reinterpret_cast<char*>(out) + count * 4 - bytes;
  RETURN_IF_ERROR(
      Annotate(ReadAt(file_, at, bytes, entry->offset + rows.begin * entry->row_bytes()), name));
  if (entry->dtype != "F32") Widen(entry->dtype, count, out);
  return absl::OkStatus();
}

}  // namespace blockstep
