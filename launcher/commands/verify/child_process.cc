#include "launcher/commands/verify/child_process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>

#include "core/base/status.h"
#include "launcher/cli/stop_signal.h"

extern char** environ;

namespace blockstep {
namespace {

using Clock = std::chrono::steady_clock;

// True once it has ended; `state` as waitpid gives it.
bool EndedWithin(pid_t pid, double seconds, bool until_stop, int* state) {
  const auto until = Clock::now() + std::chrono::duration<double>(seconds);
  while (Clock::now() < until && !(until_stop && StopSignalSeen())) {
    if (waitpid(pid, state, WNOHANG) == pid) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

}  // namespace

absl::StatusOr<ChildProcess> ChildProcess::Start(const std::vector<std::string>& argv,
                                                 const std::string& log) {
  std::vector<char*> pointers;
  for (const std::string& a : argv) pointers.push_back(const_cast<char*>(a.c_str()));
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, pointers[0], &files, &attributes, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return NotFound("cannot start ", argv[0], ": ", std::strerror(error));
  return ChildProcess(pid, argv[0]);
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), name_(std::move(other.name_)) {}

ChildProcess::~ChildProcess() { End(); }

void ChildProcess::End() {
  if (pid_ < 0) return;
  int state = 0;
  kill(-pid_, SIGTERM);
  if (!EndedWithin(pid_, 5, false, &state)) {
    kill(-pid_, SIGKILL);
    waitpid(pid_, &state, 0);
  }
  pid_ = -1;
}

absl::Status ChildProcess::Running() {
  if (StopSignalSeen()) return absl::CancelledError("asked to stop");
  int state = 0;
  if (waitpid(pid_, &state, WNOHANG) != pid_) return absl::OkStatus();
  pid_ = -1;
  return Internal(name_, WIFEXITED(state) ? Cat(" exited with code ", WEXITSTATUS(state))
                                          : Cat(" was killed by signal ", WTERMSIG(state)));
}

absl::StatusOr<int> ChildProcess::Wait(double limit_s) {
  int state = 0;
  if (!EndedWithin(pid_, limit_s, true, &state)) {
    End();
    if (StopSignalSeen()) return absl::CancelledError("asked to stop");
    return DeadlineExceeded(name_, " ran longer than ", limit_s, " s and was killed");
  }
  pid_ = -1;
  return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
}

}  // namespace blockstep
