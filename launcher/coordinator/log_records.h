// The bytes of the coordinator's log: "BSCLOG1\n", then records of { u32 length, u64 first half of
// SHA-256, payload }, little endian; payload is a proto LogRecord, a header first, then reports.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/coordinator.pb.h"

namespace blockstep {

struct LogContents {
  bool fresh = true;  // there was no log
  proto::LogHeader header;
  std::vector<proto::StepReport> reports;
};

std::string LogOf(const proto::LogHeader& header);  // a whole file
std::string RecordOf(const proto::StepReport& report);

// Fills `contents`; returns the size up to which records are whole. One record at the end may be
// torn: one append is under way at a time, so it was never answered. Any other damage is DATA_LOSS
// with the byte where it lies.
absl::StatusOr<int64_t> ReadLog(std::string_view bytes, const std::string& path,
                                LogContents* contents);

}  // namespace blockstep
