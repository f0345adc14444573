#include "launcher/trainer/checkpoint/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "core/base/check.h"
#include "core/base/errno_status.h"
#include "core/base/status.h"

namespace blockstep {

RunLock::~RunLock() {
  if (file_ >= 0) close(file_);
}

absl::Status RunLock::Take(const std::string& run_folder, double wait_s) {
  CHECK(file_ < 0);
  const std::string path = run_folder + "/" + kRunLockName;
  file_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file_ < 0) return ErrnoStatus(errno, Cat("run folder ", run_folder, ": cannot open ", path));
  const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(wait_s);
  while (flock(file_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return absl::OkStatus();
    if (std::chrono::steady_clock::now() >= until) {
      return ResourceExhausted("run folder ", run_folder,
                               ": another process works in it (it holds ", path, ", waited ",
                               wait_s, " s); `blockstep status ", run_folder,
                               "` shows it, `blockstep stop ", run_folder, "` ends it");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return absl::OkStatus();
}

}  // namespace blockstep
