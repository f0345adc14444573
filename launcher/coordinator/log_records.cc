#include "launcher/coordinator/log_records.h"

#include <cstring>
#include <optional>

#include "core/base/sha256.h"
#include "core/base/status.h"

namespace blockstep {
namespace {

constexpr std::string_view kMagic = "BSCLOG1\n";
constexpr size_t kFrame = sizeof(uint32_t) + sizeof(uint64_t);

std::string Frame(const proto::LogRecord& record) {
  const std::string payload = record.SerializeAsString();
  const uint32_t length = static_cast<uint32_t>(payload.size());
  const uint64_t hash = Hash64(payload);
  std::string framed(kFrame, '\0');
  std::memcpy(framed.data(), &length, sizeof(length));
  std::memcpy(framed.data() + sizeof(length), &hash, sizeof(hash));
  return framed + payload;
}

// The payload of the record that begins at `at`, if a whole one does.
std::optional<std::string_view> PayloadAt(std::string_view bytes, size_t at) {
  if (bytes.size() - at < kFrame) return std::nullopt;
  uint32_t length = 0;
  uint64_t hash = 0;
  std::memcpy(&length, bytes.data() + at, sizeof(length));
  std::memcpy(&hash, bytes.data() + at + sizeof(length), sizeof(hash));
  if (length == 0 || bytes.size() - at - kFrame < length) return std::nullopt;
  const std::string_view payload = bytes.substr(at + kFrame, length);
  if (Hash64(payload) != hash) return std::nullopt;
  return payload;
}

// A length that is damaged looks like a record that the end cuts short: what tells them apart is
// that something whole comes after it.
bool AnyRecordAfter(std::string_view bytes, size_t at) {
  while (++at < bytes.size()) {
    if (PayloadAt(bytes, at).has_value()) return true;
  }
  return false;
}

}  // namespace

std::string LogOf(const proto::LogHeader& header) {
  proto::LogRecord record;
  *record.mutable_header() = header;
  return std::string(kMagic) + Frame(record);
}

std::string RecordOf(const proto::StepReport& report) {
  proto::LogRecord record;
  *record.mutable_report() = report;
  return Frame(record);
}

absl::StatusOr<int64_t> ReadLog(std::string_view bytes, const std::string& path,
                                LogContents* contents) {
  if (bytes.substr(0, kMagic.size()) != kMagic) {
    return DataLoss("coordinator log ", path, ": byte 0: expected BSCLOG1 as the first line");
  }
  size_t at = kMagic.size();
  const auto damaged = [&](std::string_view how) {
    return DataLoss("coordinator log ", path, ": byte ", at, ": ", how,
                    "; with a new folder for the coordinator, `train --resume auto` continues from "
                    "the last checkpoint");
  };
  while (at < bytes.size()) {
    const std::optional<std::string_view> payload = PayloadAt(bytes, at);
    if (!payload.has_value()) {
      if (contents->fresh) return damaged("corrupt header");
      if (AnyRecordAfter(bytes, at)) return damaged("corrupt record");
      break;
    }
    proto::LogRecord record;
    if (!record.ParseFromArray(payload->data(), static_cast<int>(payload->size()))) {
      return damaged("cannot parse the record");
    }
    if (record.has_header() && contents->fresh) {
      contents->header = record.header();
      contents->fresh = false;
    } else if (record.has_report() && !contents->fresh) {
      contents->reports.push_back(record.report());
    } else {
      return damaged("expected one header, then reports");
    }
    at += kFrame + payload->size();
  }
  if (contents->fresh) return damaged("no header");
  return static_cast<int64_t>(at);
}

}  // namespace blockstep
