// An error number of the system as a Status: whoever asks for the code learns whether a file is
// missing, a disk is full or a folder may not be written, whatever part of the program found out.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>

#include "absl/status/status.h"
#include "core/base/str.h"

namespace blockstep {

// `what`: ": " and the system's words for `error` come after it.
inline absl::Status ErrnoStatus(int error, std::string_view what) {
  const std::string message = Cat(what, ": ", std::strerror(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case EEXIST:
      return absl::AlreadyExistsError(message);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EIO:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::InternalError(message);
  }
}

}  // namespace blockstep
