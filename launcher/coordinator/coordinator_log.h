// The coordinator's memory across starts: a file of one header (identity, term, policy state) and
// the reports accepted since, each fsynced before it is answered (log_records.h has the bytes).
// Policies are pure, so header + reports give the policy back; the header is rewritten now and
// then, which keeps the file short.
//
// After a write or fsync that failed nobody knows what is on the disk, and a later fsync that
// succeeds does not say that the earlier bytes came there. So nothing is appended to such a file
// again: only a whole new one (Rewrite, or the next start) goes on.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "launcher/coordinator/log_records.h"

namespace blockstep {

class CoordinatorLog {
 public:
  // Opens or creates; the folder exists. FAILED_PRECONDITION names the process that has it open.
  static absl::StatusOr<std::unique_ptr<CoordinatorLog>> Open(const std::string& path,
                                                              LogContents* contents);
  ~CoordinatorLog();

  // Replaces everything by `header`: new file, fsync, rename, fsync of the folder. The old file
  // stands when the error came before the rename; broken() tells.
  absl::Status Rewrite(const proto::LogHeader& header);
  // Durable when it returns OK; the log is broken when it does not.
  absl::Status Append(const proto::StepReport& report);

  // Why nothing can be appended until a Rewrite succeeds; OK: the file is sound.
  const absl::Status& broken() const { return broken_; }
  int64_t appended() const { return appended_; }  // since the header was written

 private:
  CoordinatorLog(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}
  absl::Status Lock();
  absl::Status CutTo(int64_t size);

  const std::string path_;
  int lock_ = -1;
  int file_ = -1;
  int64_t size_ = 0;
  int64_t appended_ = 0;
  absl::Status broken_;
};

}  // namespace blockstep
