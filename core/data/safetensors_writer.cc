#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/base/check.h"
#include "core/base/errno_status.h"
#include "core/base/status.h"
#include "core/data/safetensors.h"

namespace blockstep {
namespace {

absl::Status WriteAt(int fd, const std::string& path, const void* data, int64_t bytes,
                     int64_t offset) {
  for (int64_t done = 0; done < bytes;) {
    const ssize_t put =
        ::pwrite(fd, static_cast<const char*>(data) + done, bytes - done, offset + done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return ErrnoStatus(errno, Cat(path, ": cannot write"));
    done += put;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SafetensorsWriter> SafetensorsWriter::Create(const std::string& path,
                                                            std::vector<SafetensorsEntry> tensors) {
  SafetensorsLayout layout = MakeSafetensorsLayout(std::move(tensors));
  SafetensorsWriter writer;
  writer.path_ = path;
  writer.fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (writer.fd_ < 0) return ErrnoStatus(errno, Cat(path, ": cannot create"));
  if (const int error = ::posix_fallocate(writer.fd_, 0, layout.file_bytes); error != 0) {
    return ResourceExhausted(path, ": cannot reserve ", layout.file_bytes,
                             " bytes: ", std::strerror(error));
  }
  RETURN_IF_ERROR(WriteAt(writer.fd_, path, layout.header.data(),
                          static_cast<int64_t>(layout.header.size()), 0));
  writer.entries_ = std::move(layout.entries);
  return writer;
}

absl::StatusOr<SafetensorsWriter> SafetensorsWriter::Attach(const std::string& path) {
  ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(path));
  SafetensorsWriter writer;
  writer.path_ = path;
  writer.entries_ = file.entries();
  writer.fd_ = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (writer.fd_ < 0) return ErrnoStatus(errno, Cat(path, ": cannot open to write"));
  return writer;
}

SafetensorsWriter::SafetensorsWriter(SafetensorsWriter&& other) noexcept {
  *this = std::move(other);
}
SafetensorsWriter& SafetensorsWriter::operator=(SafetensorsWriter&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(entries_, other.entries_);
  return *this;
}
SafetensorsWriter::~SafetensorsWriter() {
  if (fd_ >= 0) ::close(fd_);
}

absl::Status SafetensorsWriter::WriteRows(std::string_view name, Range rows,
                                          const float* values) const {
  const auto entry =
      std::lower_bound(entries_.begin(), entries_.end(), name,
                       [](const SafetensorsEntry& e, std::string_view n) { return e.name < n; });
  CHECK(entry != entries_.end() && entry->name == name);
  CHECK_EQ(entry->dtype, "F32");
  CHECK_LE(0, rows.begin);
  CHECK_LE(rows.begin, rows.end);
  CHECK_LE(rows.end, entry->rows());
  return WriteAt(fd_, path_, values, rows.size() * entry->row_bytes(),
                 entry->offset + rows.begin * entry->row_bytes());
}

absl::Status SafetensorsWriter::Sync() const {
  if (::fsync(fd_) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, Cat(path_, ": cannot fsync"));
}

}  // namespace blockstep
