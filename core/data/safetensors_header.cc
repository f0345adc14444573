#include "core/data/safetensors_header.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <utility>

#include "core/base/check.h"
#include "core/base/math.h"
#include "core/base/shown.h"
#include "core/base/status.h"
#include "core/io/json_text.h"
#include "nlohmann/json.hpp"

namespace blockstep {
namespace {

using nlohmann::json;

constexpr std::pair<std::string_view, int64_t> kDTypes[] = {
    {"F64", 8}, {"F32", 4}, {"F16", 2},  {"BF16", 2},    {"I64", 8},
    {"I32", 4}, {"I16", 2}, {"I8", 1},   {"U64", 8},     {"U32", 4},
    {"U16", 2}, {"U8", 1},  {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}};

// A count or offset that fits; -1: it is none.
int64_t Size(const json& value) {
  if (!value.is_number_integer()) return -1;
  if (value.is_number_unsigned()) {
    const uint64_t v = value.get<uint64_t>();
    return v > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) ? -1
                                                                          : static_cast<int64_t>(v);
  }
  return value.get<int64_t>();
}

// Bytes that dtype and shape ask for; -1: negative dimension or overflow, of any dimensions that a
// row is made of too, should there be no row.
int64_t WantedBytes(const SafetensorsEntry& entry) {
  int64_t bytes = SafetensorsDTypeBytes(entry.dtype);
  bool none = false;
  for (const int64_t dim : entry.shape) {
    none |= dim == 0;
    if (dim < 0 || __builtin_mul_overflow(bytes, std::max<int64_t>(dim, 1), &bytes)) return -1;
  }
  return none ? 0 : bytes;
}

absl::StatusOr<SafetensorsEntry> ParseEntry(const std::string& name, const json& value,
                                            int64_t data_bytes, const std::string& at) {
  SafetensorsEntry entry{.name = name};
  const auto dtype = value.find("dtype"), shape = value.find("shape");
  const auto offsets = value.find("data_offsets");
  if (dtype == value.end() || !dtype->is_string() || shape == value.end() || !shape->is_array() ||
      offsets == value.end() || !offsets->is_array() || offsets->size() != 2) {
    return DataLoss(at, ": expected dtype, shape and two data_offsets");
  }
  entry.dtype = dtype->get<std::string>();
  if (SafetensorsDTypeBytes(entry.dtype) == 0) {
    return DataLoss(at, ": unknown dtype '", Shown(entry.dtype), "'");
  }
  for (const json& dim : *shape) entry.shape.push_back(Size(dim));
  const int64_t begin = Size((*offsets)[0]), end = Size((*offsets)[1]);
  if (begin < 0 || end < begin) {
    return DataLoss(at, ": data_offsets: expected 0 <= begin <= end, got ", Shown(offsets->dump()));
  }
  if (end > data_bytes) {
    return DataLoss(at, ": data ends at ", end, ", but the file has ", data_bytes,
                    " bytes of data");
  }
  entry.bytes = end - begin;
  if (const int64_t wanted = WantedBytes(entry); wanted != entry.bytes) {
    return DataLoss(at, ": expected ", wanted, " bytes of data for ", entry.dtype, " ",
                    Shown(shape->dump()), ", got ", entry.bytes);
  }
  entry.offset = begin;
  return entry;
}

}  // namespace

int64_t SafetensorsEntry::cols() const {
  int64_t product = 1;
  for (size_t i = 1; i < shape.size(); ++i) product *= shape[i];
  return product;
}

int64_t SafetensorsDTypeBytes(std::string_view dtype) {
  for (const auto& [name, bytes] : kDTypes) {
    if (name == dtype) return bytes;
  }
  return 0;
}

absl::StatusOr<std::vector<SafetensorsEntry>> ParseSafetensorsHeader(std::string_view text,
                                                                     int64_t file_bytes,
                                                                     std::string_view where) {
  const absl::StatusOr<json> parsed = ParseJson(text);
  if (!parsed.ok()) return DataLoss(where, ": header: ", parsed.status().message());
  const json& header = *parsed;
  if (!header.is_object()) return DataLoss(where, ": header: expected a JSON object");
  const int64_t data_start = 8 + static_cast<int64_t>(text.size());
  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") continue;
    ASSIGN_OR_RETURN(SafetensorsEntry entry, ParseEntry(name, value, file_bytes - data_start,
                                                        Cat(where, ": tensor ", Shown(name))));
    entries.push_back(std::move(entry));
  }
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return std::pair(a.offset, a.bytes) < std::pair(b.offset, b.bytes);
  });
  int64_t end = 0;
  for (SafetensorsEntry& entry : entries) {
    if (entry.offset != end) {
      return DataLoss(where, ": tensor ", Shown(entry.name), ": expected data to begin at ", end,
                      ", where the previous tensor ends, got ", entry.offset, " (",
                      entry.offset < end ? "overlap" : "hole", ")");
    }
    end += entry.bytes;
    entry.offset += data_start;
  }
  if (data_start + end != file_bytes) {
    return DataLoss(where, ": expected ", end, " bytes of data after the header, got ",
                    file_bytes - data_start);
  }
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return entries;
}

SafetensorsLayout MakeSafetensorsLayout(std::vector<SafetensorsEntry> tensors) {
  SafetensorsLayout layout;
  std::sort(tensors.begin(), tensors.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  json header = {{"__metadata__", {{"format", "pt"}}}};
  int64_t end = 0;
  for (SafetensorsEntry& t : tensors) {
    t.bytes = WantedBytes(t);
    CHECK_LE(0, t.bytes);
    CHECK(!header.contains(t.name));
    t.offset = end;
    end += t.bytes;
    header[t.name] = {{"dtype", t.dtype}, {"shape", t.shape}, {"data_offsets", {t.offset, end}}};
  }
  std::string text = header.dump();
  text.append(RoundUp(8 + static_cast<int64_t>(text.size()), 64) - 8 - text.size(), ' ');
  const uint64_t length = text.size();
  layout.header.assign(reinterpret_cast<const char*>(&length), sizeof length);
  layout.header += text;
  for (SafetensorsEntry& t : tensors) t.offset += static_cast<int64_t>(layout.header.size());
  layout.file_bytes = static_cast<int64_t>(layout.header.size()) + end;
  layout.entries = std::move(tensors);
  return layout;
}

}  // namespace blockstep
