#include "launcher/cli/stop_signal.h"

#include <csignal>
#include <initializer_list>

namespace blockstep {
namespace {

volatile std::sig_atomic_t stop_seen = 0, termination_seen = 0;

void OnStop(int signal) {
  if (signal == SIGINT && stop_seen != 0) {
    std::signal(SIGINT, SIG_DFL);
    std::raise(SIGINT);
  }
  stop_seen = 1;
  if (signal == SIGTERM) termination_seen = 1;
}

}  // namespace

void InstallStopSignals() {
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
