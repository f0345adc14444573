#include "launcher/coordinator/coordinator_log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "core/base/check.h"
#include "core/base/sha256.h"
#include "core/base/status.h"

namespace blockstep {
namespace {

constexpr std::string_view kMagic = "BSCLOG1\n";
constexpr size_t kFrame = sizeof(uint32_t) + sizeof(uint64_t);

absl::Status Failed(std::string_view doing, const std::string& path) {
  const int error = errno;
  const std::string text =
      Cat("coordinator log: cannot ", doing, " ", path, ": ", std::strerror(error));
  return error == ENOSPC || error == EDQUOT ? absl::ResourceExhaustedError(text)
                                            : absl::UnavailableError(text);
}

std::string Frame(const proto::LogRecord& record) {
  const std::string payload = record.SerializeAsString();
  const uint32_t length = static_cast<uint32_t>(payload.size());
  const uint64_t hash = Hash64(payload);
  std::string framed(kFrame, '\0');
  std::memcpy(framed.data(), &length, sizeof(length));
  std::memcpy(framed.data() + sizeof(length), &hash, sizeof(hash));
  return framed + payload;
}

bool WriteAll(int file, std::string_view bytes, int64_t offset) {
  while (!bytes.empty()) {
    const ssize_t wrote = pwrite(file, bytes.data(), bytes.size(), offset);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(wrote));
    offset += wrote;
  }
  return true;
}

// Fills `contents`; returns the size up to which records are whole.
absl::StatusOr<int64_t> Read(std::string_view bytes, const std::string& path,
                             LogContents* contents) {
  if (bytes.substr(0, kMagic.size()) != kMagic) {
    return DataLoss("coordinator log ", path, ": found another first line, wanted BSCLOG1");
  }
  size_t at = kMagic.size();
  while (bytes.size() - at >= kFrame) {
    uint32_t length = 0;
    uint64_t hash = 0;
    std::memcpy(&length, bytes.data() + at, sizeof(length));
    std::memcpy(&hash, bytes.data() + at + sizeof(length), sizeof(hash));
    if (bytes.size() - at - kFrame < length) break;
    const std::string_view payload = bytes.substr(at + kFrame, length);
    proto::LogRecord record;
    if (Hash64(payload) != hash ||
        !record.ParseFromArray(payload.data(), static_cast<int>(length))) {
      // The last record may hold blocks that a power cut left unwritten: it was not answered.
      if (at + kFrame + length == bytes.size() && !contents->fresh) break;
      return DataLoss("coordinator log ", path, ": record at byte ", at, " is damaged");
    }
    if (record.has_head()) {
      if (!contents->fresh) return DataLoss("coordinator log ", path, ": found a second head");
      contents->head = record.head();
      contents->fresh = false;
    } else if (record.has_report() && !contents->fresh) {
      contents->reports.push_back(record.report());
    } else {
      return DataLoss("coordinator log ", path, ": record at byte ", at, " is of no known kind");
    }
    at += kFrame + length;
  }
  if (contents->fresh) return DataLoss("coordinator log ", path, ": found no head");
  return static_cast<int64_t>(at);
}

}  // namespace

absl::StatusOr<std::unique_ptr<CoordinatorLog>> CoordinatorLog::Open(const std::string& path,
                                                                     LogContents* contents) {
  // The log itself is replaced by rename, so a file beside it carries the lock.
  const std::string lock_path = path + ".lock";
  const int lock = open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock < 0) return Failed("open", lock_path);
  std::unique_ptr<CoordinatorLog> log(new CoordinatorLog(path, lock));
  if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
    return FailedPrecondition("coordinator log ", path, ": another coordinator has it open");
  }
  *contents = {};
  log->file_ = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (log->file_ < 0) {
    if (errno == ENOENT) return log;
    return Failed("open", path);
  }
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  if (!(text << in.rdbuf())) return DataLoss("coordinator log ", path, ": found nothing in it");
  const std::string bytes = std::move(text).str();
  ASSIGN_OR_RETURN(log->size_, Read(bytes, path, contents));
  if (log->size_ < static_cast<int64_t>(bytes.size()) &&
      (ftruncate(log->file_, log->size_) != 0 || fsync(log->file_) != 0)) {
    return Failed("cut the torn end of", path);
  }
  log->appended_ = static_cast<int64_t>(contents->reports.size());
  return log;
}

CoordinatorLog::~CoordinatorLog() {
  if (file_ >= 0) close(file_);
  close(lock_);
}

absl::Status CoordinatorLog::Rewrite(const proto::LogHead& head) {
  proto::LogRecord record;
  *record.mutable_head() = head;
  const std::string bytes = std::string(kMagic) + Frame(record);
  const std::string next = path_ + ".next";
  const int file = open(next.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return Failed("create", next);
  if (!WriteAll(file, bytes, 0) || fsync(file) != 0 || rename(next.c_str(), path_.c_str()) != 0) {
    const absl::Status status = Failed("write", next);
    close(file);
    return status;
  }
  const size_t slash = path_.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
  const int dir = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = dir >= 0 && fsync(dir) == 0;
  if (dir >= 0) close(dir);
  if (file_ >= 0) close(file_);
  file_ = file;
  size_ = static_cast<int64_t>(bytes.size());
  appended_ = 0;
  return synced ? absl::OkStatus() : Failed("fsync", folder);
}

absl::Status CoordinatorLog::Append(const proto::StepReport& report) {
  CHECK_GE(file_, 0);  // a head comes first
  proto::LogRecord record;
  *record.mutable_report() = report;
  const std::string bytes = Frame(record);
  if (!WriteAll(file_, bytes, size_) || fdatasync(file_) != 0) {
    absl::Status status = Failed("append to", path_);
    // A half record in the middle would hide what follows; the next append starts at size_ anyway.
    if (ftruncate(file_, size_) != 0) status = Failed("cut back", path_);
    return status;
  }
  size_ += static_cast<int64_t>(bytes.size());
  ++appended_;
  return absl::OkStatus();
}

}  // namespace blockstep
