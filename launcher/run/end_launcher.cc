#include "launcher/run/end_launcher.h"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string_view>

namespace blockstep {
namespace {

// Between fork and _exit only what is safe in a signal handler: other threads may hold any lock.
bool IsMpirun(const char* path) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  char text[16] = {};
  const ssize_t got = read(file, text, sizeof text);
  close(file);
  const std::string_view comm(text, got > 0 ? static_cast<size_t>(got) - 1 : 0);
  return comm == "mpirun" || comm == "orterun" || comm == "mpiexec";
}

}  // namespace

void EndLauncherLater(unsigned after_s) {
  const pid_t launcher = getppid();
  char comm[32];  // made before the fork
  std::snprintf(comm, sizeof comm, "/proc/%d/comm", launcher);
  if (launcher <= 1 || !IsMpirun(comm)) return;
  if (fork() != 0) return;
  setsid();
  for (int file = 0; file < 1024; ++file) close(file);  // mpirun waits for the ends of pipes
  while ((after_s = sleep(after_s)) > 0) {
  }
  // Not SIGTERM: it is ending already, and Open MPI 4 crashes at a signal then.
  if (IsMpirun(comm)) kill(launcher, SIGKILL);
  _exit(0);
}

}  // namespace blockstep
