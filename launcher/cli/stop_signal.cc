#include "launcher/cli/stop_signal.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <initializer_list>
#include <string_view>

namespace blockstep {
namespace {

volatile std::sig_atomic_t stop_seen = 0, termination_seen = 0;
// Set before the handler is.
StopSignalOptions options;
bool terminal = false;

// A reader that takes nothing goes without: a write to it would hold the step up.
void Tell() {
  constexpr std::string_view kText =
      "\nblockstep: asked to stop; finishing the step in hand; Ctrl-C again aborts\n";
  const int error = errno;
  pollfd out = {STDERR_FILENO, POLLOUT, 0};
  if (poll(&out, 1, 0) == 1 && (out.revents & POLLOUT) != 0) {
    // Only a terminal has a line of progress or "^C" before it.
    const std::string_view text = kText.substr(terminal ? 0 : 1);
    [[maybe_unused]] const ssize_t wrote = write(STDERR_FILENO, text.data(), text.size());
  }
  errno = error;
}

void OnStop(int signal) {
  if (signal == SIGINT && stop_seen != 0) {
    std::signal(SIGINT, SIG_DFL);
    std::raise(SIGINT);
  }
  if (stop_seen == 0 && (signal == SIGTERM ? options.tell_termination : options.tell)) Tell();
  stop_seen = 1;
  if (signal == SIGTERM) termination_seen = 1;
}

}  // namespace

void InstallStopSignals(const StopSignalOptions& o) {
  options = o;
  terminal = isatty(STDERR_FILENO) != 0;
  struct sigaction action = {};
  action.sa_handler = OnStop;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  for (int signal : {SIGUSR1, SIGTERM, SIGINT}) sigaction(signal, &action, nullptr);
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on files is an error of writing, too
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is a write error, not the end of the run
}

bool TerminationSeen() { return termination_seen != 0; }
bool StopSignalSeen() { return stop_seen != 0; }

}  // namespace blockstep
