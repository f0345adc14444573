// Every change that a checkpoint makes on disk goes through here, one call per system call that can
// fail or after which a crash can come. A hook sees each operation before it happens: tests end the
// process there, inject a full disk, or record the order.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"

namespace blockstep {

enum class FileOpKind : uint8_t {
  kCreateFolder,
  kCreate,
  kAllocate,
  kWrite,
  kFsync,
  kRename,
  kFsyncFolder,
  kRemove,
};
const char* FileOpName(FileOpKind kind);

struct FileOp {
  FileOpKind kind = FileOpKind::kWrite;
  std::string path;
  std::string to;      // kRename
  int64_t offset = 0;  // kWrite
  int64_t bytes = 0;   // kWrite, kAllocate
};
// A non-OK status takes the place of the operation.
using FileHook = std::function<absl::Status(const FileOp&)>;

// An open file descriptor; closed at destruction.
class File {
 public:
  File() = default;
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();

  // A regular file that somebody names. DATA_LOSS for anything else, before it is opened: opening a
  // FIFO may wait for ever, reading a device may never end, and opening some devices does things.
  static absl::StatusOr<File> OpenInput(const std::string& path);
  static absl::StatusOr<File> OpenForWrite(const std::string& path);  // exists already

  absl::StatusOr<int64_t> Size() const;
  // Exactly `bytes`, or DATA_LOSS that names path, offset, expected and got.
  absl::Status Read(void* data, int64_t bytes, int64_t offset) const;

  const std::string& path() const { return path_; }
  int fd() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }  // the caller closes it

 private:
  friend class FileOps;
  File(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  int fd_ = -1;
  std::string path_;
};

// Who may read a new file: whom the umask leaves, or its owner alone, from the first byte on
// (keys).
enum class FileMode : uint16_t { kUmask = 0666, kPrivate = 0600 };

class FileOps {
 public:
  explicit FileOps(FileHook hook = nullptr) : hook_(std::move(hook)) {}

  absl::Status CreateFolder(const std::string& path) const;  // parents exist; existing: fine
  // New and empty; a file of that name is an error.
  absl::StatusOr<File> Create(const std::string& path, FileMode mode = FileMode::kUmask) const;
  // Reserves the blocks of the first `bytes`, so that a full disk shows before anything is copied.
  absl::Status Allocate(const File& file, int64_t bytes) const;
  absl::Status Write(const File& file, const void* data, int64_t bytes, int64_t offset) const;
  absl::Status Fsync(const File& file) const;
  absl::Status Rename(const std::string& from, const std::string& to) const;
  absl::Status FsyncFolder(const std::string& path) const;
  absl::Status RemoveAll(const std::string& path) const;  // absent: fine

  // Create, write, fsync: a small file that is durable once its folder is.
  absl::Status WriteSmall(const std::string& path, std::string_view text) const;
  // The same under a temporary name, then rename and fsync of the folder: the old text or the new
  // one is there after a crash, never a mixture.
  absl::Status ReplaceSmall(const std::string& path, std::string_view text,
                            FileMode mode = FileMode::kUmask) const;
  // ReplaceSmall but for the fsync of the folder: until FsyncFolderOf, a crash may bring the old
  // file back. The new one is open for reading and writing. An error leaves the old one in place.
  absl::StatusOr<File> PutInPlace(const std::string& path, std::string_view text,
                                  FileMode mode = FileMode::kUmask) const;
  absl::Status FsyncFolderOf(const std::string& path) const;

 private:
  absl::StatusOr<File> WriteNew(const std::string& path, std::string_view text,
                                FileMode mode) const;
  absl::Status Before(FileOp op) const { return hook_ ? hook_(op) : absl::OkStatus(); }
  FileHook hook_;
};

// The whole of a regular file (File::OpenInput) of at most `limit` bytes, else DATA_LOSS.
absl::StatusOr<std::string> ReadSmall(const std::string& path, int64_t limit = int64_t{1} << 30);

// "cannot <doing> <path>: <errno's text>", by errno: NOT_FOUND, RESOURCE_EXHAUSTED (disk, quota,
// file size), PERMISSION_DENIED, else UNAVAILABLE.
absl::Status FileError(std::string_view doing, const std::string& path, int error);

}  // namespace blockstep
