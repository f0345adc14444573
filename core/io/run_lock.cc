#include "core/io/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <ctime>
#include <string>
#include <thread>

#include "core/base/check.h"
#include "core/base/status.h"

namespace blockstep {
namespace {

constexpr size_t kLongestText = 1024;
constexpr std::chrono::seconds kSilentFor(1);

std::string Holder() {
  char host[256] = "", since[64] = "";
  gethostname(host, sizeof host - 1);
  const std::time_t now = std::time(nullptr);
  std::tm utc;
  std::strftime(since, sizeof since, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&now, &utc));
  return Cat("process ", getpid(), " on ", host, " since ", since);
}

std::string TextOf(int file) {
  std::string text(kLongestText, '\0');
  const ssize_t bytes = pread(file, text.data(), text.size(), 0);
  text.resize(bytes > 0 ? static_cast<size_t>(bytes) : 0);
  return text;
}

// For people: where it cannot be written the lock is one all the same.
void SetText(int file, const std::string& text) {
  if (ftruncate(file, 0) == 0) (void)!pwrite(file, text.data(), text.size(), 0);
}

}  // namespace

RunLock::~RunLock() {
  if (held_) SetText(file_, text_before_);
  if (file_ >= 0) close(file_);
}

absl::Status RunLock::Take(const std::string& run_folder, double wait_s,
                           const std::function<void(const std::string&)>& tell) {
  CHECK(file_ < 0);
  const std::string path = run_folder + "/" + kRunLockName;
  file_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file_ < 0) return ErrnoStatus(errno, Cat("run folder ", run_folder, ": cannot open ", path));
  const auto begin = std::chrono::steady_clock::now();
  const auto until = begin + std::chrono::duration<double>(wait_s);
  bool told = tell == nullptr;
  while (flock(file_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return absl::OkStatus();
    if (std::chrono::steady_clock::now() >= until) {
      return ResourceExhausted("run folder ", run_folder, ": in use by ", TextOf(file_), " (lock ",
                               path, ", waited ", wait_s, " s); see `blockstep status ", run_folder,
                               "`, or stop it with `blockstep stop ", run_folder, "`");
    }
    if (!told && std::chrono::steady_clock::now() - begin > kSilentFor) {
      tell(Cat("waiting for the process that holds run folder ", run_folder, ", at most ", wait_s,
               " s: ", TextOf(file_)));
      told = true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  held_ = true;
  text_before_ = TextOf(file_);
  SetText(file_, Holder());
  return absl::OkStatus();
}

}  // namespace blockstep
