// The coordinator's memory across starts: a file of one head (identity, term, policy state) and the
// reports accepted since, each fsynced before it is answered. Policies are pure, so head + reports
// give the policy back; the head is rewritten now and then, which keeps the file short.
//
// Layout: "BSCLOG1\n", then records of { u32 length, u64 first half of SHA-256, payload }, little
// endian; payload is a proto LogRecord. A record that the end of the file cuts short was never
// answered and is dropped; any other damage is DATA_LOSS.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/coordinator.pb.h"

namespace blockstep {

struct LogContents {
  bool fresh = true;  // there was no log
  proto::LogHead head;
  std::vector<proto::StepReport> reports;
};

class CoordinatorLog {
 public:
  // Opens or creates; the folder exists. FAILED_PRECONDITION: another coordinator has it open.
  static absl::StatusOr<std::unique_ptr<CoordinatorLog>> Open(const std::string& path,
                                                              LogContents* contents);
  ~CoordinatorLog();

  // Replaces everything by `head`: new file, fsync, rename, fsync of the folder.
  absl::Status Rewrite(const proto::LogHead& head);
  // Durable when it returns OK; as before when it does not.
  absl::Status Append(const proto::StepReport& report);

  int64_t appended() const { return appended_; }  // since the head was written

 private:
  CoordinatorLog(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}
  const std::string path_;
  int lock_ = -1;
  int file_ = -1;
  int64_t size_ = 0;
  int64_t appended_ = 0;
};

}  // namespace blockstep
