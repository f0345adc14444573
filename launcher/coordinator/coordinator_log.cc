#include "launcher/coordinator/coordinator_log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "core/base/check.h"
#include "core/base/status.h"
#include "core/io/file_ops.h"

namespace blockstep {
namespace {

// Of one code whatever the cause: a disk that is full, failing or mounted read-only may be fixed
// while the ranks wait.
absl::Status Failed(std::string_view doing, const std::string& path) {
  return ResourceExhausted("coordinator log: cannot ", doing, " ", path, ": ",
                           std::strerror(errno));
}

absl::Status OfDisk(const absl::Status& status) {
  return status.ok() ? status : ResourceExhausted("coordinator log: ", status.message());
}

bool WriteAll(int file, std::string_view bytes, int64_t offset) {
  while (!bytes.empty()) {
    const ssize_t wrote = pwrite(file, bytes.data(), bytes.size(), offset);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote == 0) errno = EIO;
    if (wrote <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(wrote));
    offset += wrote;
  }
  return true;
}

absl::StatusOr<std::string> ReadAll(int file, const std::string& path) {
  std::string bytes;
  char part[1 << 16];
  while (true) {
    const ssize_t got = pread(file, part, sizeof part, static_cast<off_t>(bytes.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Failed("read", path);  // what was read so far is no torn log
    if (got == 0) return bytes;
    bytes.append(part, static_cast<size_t>(got));
  }
}

}  // namespace

// The log itself is replaced by rename, so a file beside it carries the lock, and the name of the
// process that holds it.
absl::Status CoordinatorLog::Lock() {
  if (flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return Failed("lock", path_ + ".lock");
    ASSIGN_OR_RETURN(const std::string holder, ReadAll(lock_, path_ + ".lock"));
    return FailedPrecondition("coordinator log ", path_, ": another coordinator has it open",
                              holder.empty() ? "" : ": " + holder);
  }
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  // For people: without room for it the lock holds all the same.
  if (ftruncate(lock_, 0) == 0) (void)dprintf(lock_, "process %d on %s", getpid(), host);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<CoordinatorLog>> CoordinatorLog::Open(const std::string& path,
                                                                     LogContents* contents) {
  const std::string lock_path = path + ".lock";
  const int lock = open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock < 0) return Failed("open", lock_path);
  std::unique_ptr<CoordinatorLog> log(new CoordinatorLog(path, lock));
  RETURN_IF_ERROR(log->Lock());
  *contents = {};
  log->file_ = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (log->file_ < 0) {
    if (errno == ENOENT) return log;
    return Failed("open", path);
  }
  ASSIGN_OR_RETURN(const std::string bytes, ReadAll(log->file_, path));
  ASSIGN_OR_RETURN(log->size_, ReadLog(bytes, path, contents));
  if (log->size_ < static_cast<int64_t>(bytes.size())) RETURN_IF_ERROR(log->CutTo(log->size_));
  log->appended_ = static_cast<int64_t>(contents->reports.size());
  return log;
}

CoordinatorLog::~CoordinatorLog() {
  if (file_ >= 0) close(file_);
  close(lock_);
}

absl::Status CoordinatorLog::CutTo(int64_t size) {
  if (ftruncate(file_, size) == 0 && fsync(file_) == 0) return absl::OkStatus();
  return Failed("truncate the torn end of", path_);
}

absl::Status CoordinatorLog::Rewrite(const proto::LogHeader& header) {
  const std::string bytes = LogOf(header);
  const FileOps files;
  absl::StatusOr<File> file = files.PutInPlace(path_, bytes);
  if (!file.ok()) return OfDisk(file.status());
  if (file_ >= 0) close(file_);
  file_ = file->Release();
  size_ = static_cast<int64_t>(bytes.size());
  appended_ = 0;
  // A crash may bring the old file back, without what would be appended to the new one.
  return broken_ = OfDisk(files.FsyncFolderOf(path_));
}

absl::Status CoordinatorLog::Append(const proto::StepReport& report) {
  CHECK_GE(file_, 0);  // a header comes first
  RETURN_IF_ERROR(broken_);
  const std::string bytes = RecordOf(report);
  if (!WriteAll(file_, bytes, size_) || fdatasync(file_) != 0) {
    return broken_ = Failed("append to", path_);
  }
  size_ += static_cast<int64_t>(bytes.size());
  ++appended_;
  return absl::OkStatus();
}

}  // namespace blockstep
