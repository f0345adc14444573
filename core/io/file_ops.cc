#include "core/io/file_ops.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "core/base/status.h"

namespace blockstep {
namespace {

// `bytes` of `data` at `offset`, in as many calls as the kernel wants.
template <typename Call>
absl::Status Whole(Call call, int64_t bytes, std::string_view doing, const std::string& path) {
  for (int64_t done = 0; done < bytes;) {
    const ssize_t n = call(done, static_cast<size_t>(bytes - done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FileError(doing, path, errno);
    if (n == 0) return DataLoss("cannot ", doing, " ", path, ": no progress at byte ", done);
    done += n;
  }
  return absl::OkStatus();
}

absl::Status NotRegular(const std::string& path, mode_t mode) {
  const char* kind = S_ISDIR(mode)    ? "a folder"
                     : S_ISFIFO(mode) ? "a pipe"
                     : S_ISSOCK(mode) ? "a socket"
                                      : "a device";
  return DataLoss(path, ": expected a regular file, got ", kind);
}

}  // namespace

const char* FileOpName(FileOpKind kind) {
  constexpr const char* kNames[] = {"create folder", "create", "allocate",     "write",
                                    "fsync",         "rename", "fsync folder", "remove"};
  return kNames[static_cast<int>(kind)];
}

absl::Status FileError(std::string_view doing, const std::string& path, int error) {
  return ErrnoStatus(error, Cat("cannot ", doing, " ", path));
}

File::File(File&& other) noexcept : fd_(other.fd_), path_(std::move(other.path_)) {
  other.fd_ = -1;
}
File& File::operator=(File&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  return *this;
}
File::~File() {
  if (fd_ >= 0) close(fd_);
}

absl::StatusOr<File> File::OpenInput(const std::string& path) {
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) return FileError("read", path, errno);
  if (!S_ISREG(info.st_mode)) return NotRegular(path, info.st_mode);
  // Without waiting, should a FIFO have taken its place meanwhile; a regular file does not care.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return FileError("read", path, errno);
  File file(fd, path);
  RETURN_IF_ERROR(file.Size().status());
  return file;
}

absl::StatusOr<File> File::OpenForWrite(const std::string& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return FileError("write", path, errno);
  return File(fd, path);
}

absl::StatusOr<int64_t> File::Size() const {
  struct stat info;
  if (fstat(fd_, &info) != 0) return FileError("read", path_, errno);
  if (!S_ISREG(info.st_mode)) return NotRegular(path_, info.st_mode);
  return info.st_size;
}

absl::Status File::Read(void* data, int64_t bytes, int64_t offset) const {
  ASSIGN_OR_RETURN(const int64_t size, Size());
  if (offset < 0 || bytes < 0 || offset > size - bytes) {
    return DataLoss(path_, ": truncated: expected ", bytes, " bytes at ", offset,
                    ", got a file of ", size);
  }
  return Whole(
      [&](int64_t done, size_t n) {
        return pread(fd_, static_cast<char*>(data) + done, n, offset + done);
      },
      bytes, "read", path_);
}

absl::Status FileOps::CreateFolder(const std::string& path) const {
  RETURN_IF_ERROR(Before({FileOpKind::kCreateFolder, path}));
  if (mkdir(path.c_str(), 0777) == 0) return absl::OkStatus();
  const int error = errno;
  if (error == EEXIST && std::filesystem::is_directory(path)) return absl::OkStatus();
  return FileError("create folder", path, error);
}

absl::StatusOr<File> FileOps::Create(const std::string& path, FileMode mode) const {
  RETURN_IF_ERROR(Before({FileOpKind::kCreate, path}));
  const int fd =
      open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, static_cast<mode_t>(mode));
  if (fd < 0) return FileError("create", path, errno);
  return File(fd, path);
}

absl::Status FileOps::Allocate(const File& file, int64_t bytes) const {
  RETURN_IF_ERROR(Before({FileOpKind::kAllocate, file.path(), "", 0, bytes}));
  if (bytes == 0) return absl::OkStatus();
  int error;
  do {
    error = posix_fallocate(file.fd(), 0, bytes);
  } while (error == EINTR);
  if (error == EOPNOTSUPP || error == EINVAL) {  // a file system without reservation
    error = ftruncate(file.fd(), bytes) == 0 ? 0 : errno;
  }
  if (error != 0) return FileError(Cat("allocate ", bytes, " bytes for"), file.path(), error);
  return absl::OkStatus();
}

absl::Status FileOps::Write(const File& file, const void* data, int64_t bytes,
                            int64_t offset) const {
  RETURN_IF_ERROR(Before({FileOpKind::kWrite, file.path(), "", offset, bytes}));
  return Whole(
      [&](int64_t done, size_t n) {
        return pwrite(file.fd(), static_cast<const char*>(data) + done, n, offset + done);
      },
      bytes, Cat("write ", bytes, " bytes at ", offset, " of"), file.path());
}

absl::Status FileOps::Fsync(const File& file) const {
  RETURN_IF_ERROR(Before({FileOpKind::kFsync, file.path()}));
  return fsync(file.fd()) == 0 ? absl::OkStatus() : FileError("fsync", file.path(), errno);
}

absl::Status FileOps::Rename(const std::string& from, const std::string& to) const {
  RETURN_IF_ERROR(Before({FileOpKind::kRename, from, to}));
  return rename(from.c_str(), to.c_str()) == 0
             ? absl::OkStatus()
             : FileError(Cat("rename to ", to, " from"), from, errno);
}

absl::Status FileOps::FsyncFolder(const std::string& path) const {
  RETURN_IF_ERROR(Before({FileOpKind::kFsyncFolder, path}));
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return FileError("fsync folder", path, errno);
  const File folder(fd, path);
  return fsync(folder.fd()) == 0 ? absl::OkStatus() : FileError("fsync folder", path, errno);
}

absl::Status FileOps::RemoveAll(const std::string& path) const {
  std::error_code error;
  if (!std::filesystem::exists(std::filesystem::symlink_status(path, error))) {
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(Before({FileOpKind::kRemove, path}));
  std::filesystem::remove_all(path, error);
  return error ? FileError("remove", path, error.value()) : absl::OkStatus();
}

absl::StatusOr<File> FileOps::WriteNew(const std::string& path, std::string_view text,
                                       FileMode mode) const {
  ASSIGN_OR_RETURN(File file, Create(path, mode));
  RETURN_IF_ERROR(Write(file, text.data(), static_cast<int64_t>(text.size()), 0));
  RETURN_IF_ERROR(Fsync(file));
  return file;
}

absl::Status FileOps::WriteSmall(const std::string& path, std::string_view text) const {
  return WriteNew(path, text, FileMode::kUmask).status();
}

absl::StatusOr<File> FileOps::PutInPlace(const std::string& path, std::string_view text,
                                         FileMode mode) const {
  const std::string temporary = path + ".tmp";
  RETURN_IF_ERROR(RemoveAll(temporary));  // an old one might be open to others
  absl::StatusOr<File> file = WriteNew(temporary, text, mode);
  absl::Status status = file.status();
  if (status.ok()) status = Rename(temporary, path);
  if (status.ok()) return file;
  (void)RemoveAll(temporary);  // on a full disk it takes room
  return status;
}

absl::Status FileOps::FsyncFolderOf(const std::string& path) const {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return FsyncFolder(folder.empty() ? "." : folder);
}

absl::Status FileOps::ReplaceSmall(const std::string& path, std::string_view text,
                                   FileMode mode) const {
  RETURN_IF_ERROR(PutInPlace(path, text, mode).status());
  return FsyncFolderOf(path);
}

absl::StatusOr<std::string> ReadSmall(const std::string& path, int64_t limit) {
  ASSIGN_OR_RETURN(const File file, File::OpenInput(path));
  ASSIGN_OR_RETURN(const int64_t size, file.Size());
  if (size > limit) {
    return DataLoss(path, ": expected at most ", limit, " bytes, got ", size);
  }
  std::string text(static_cast<size_t>(size), '\0');
  RETURN_IF_ERROR(file.Read(text.data(), size, 0));
  return text;
}

}  // namespace blockstep
