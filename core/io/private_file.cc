#include "core/io/private_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "core/base/status.h"
#include "core/io/file_ops.h"

namespace blockstep {

absl::Status WritePrivateFile(const std::string& path, std::string_view text) {
  const std::string next = path + ".next";
  unlink(next.c_str());  // an old one might be open to others
  const int file = open(next.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) return FileError("create", next, errno);
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t wrote = write(file, text.data() + done, text.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) break;
    done += static_cast<size_t>(wrote);
  }
  const bool written = done == text.size() && fsync(file) == 0;
  const int error = errno;
  close(file);
  if (!written) return FileError("write", next, error);
  return rename(next.c_str(), path.c_str()) == 0 ? absl::OkStatus()
                                                 : FileError("rename", next, errno);
}

}  // namespace blockstep
