#include "launcher/apps/end_launcher.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <string_view>

namespace blockstep {
namespace {

// Between fork and _exit only what is safe in a signal handler: other threads may hold any lock.
bool IsMpirun(pid_t pid) {
  char path[] = "/proc/0000000000/comm";
  for (int at = 15; at >= 6; --at, pid /= 10) path[at] = static_cast<char>('0' + pid % 10);
  char* name = path + 6;  // without leading zeros
  while (*name == '0') ++name;
  std::memmove(path + 6, name, std::strlen(name) + 1);
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  char text[16] = {};
  const ssize_t got = read(file, text, sizeof text);
  close(file);
  const std::string_view comm(text, got > 0 ? static_cast<size_t>(got) - 1 : 0);
  return comm == "mpirun" || comm == "orterun" || comm == "mpiexec";
}

void Wait(double seconds) {
  timespec left{
      static_cast<time_t>(seconds),
      static_cast<long>((seconds - static_cast<double>(static_cast<time_t>(seconds))) * 1e9)};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

}  // namespace

void EndLauncherLater(double after_s) {
  const pid_t launcher = getppid();
  if (launcher <= 1 || !IsMpirun(launcher)) return;
  if (fork() != 0) return;
  setsid();
  for (int file = 0; file < 1024; ++file) close(file);  // mpirun waits for the ends of pipes
  Wait(after_s);
  // Not SIGTERM: it is ending already, and Open MPI 4 crashes at a signal then.
  if (IsMpirun(launcher)) kill(launcher, SIGKILL);
  _exit(0);
}

}  // namespace blockstep
