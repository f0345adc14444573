// Asks to save and stop at the end of the step: SIGUSR1 and SIGTERM. SIGINT too: the second one
// ends the process at once. The handler only sets a flag, which the step exchange tells all ranks,
// and says so on stderr where it was asked to.
#pragma once

namespace blockstep {

// At the first signal, at once: "asked to stop; finishing the step in hand; Ctrl-C again aborts".
struct StopSignalOptions {
  bool tell = false;              // at SIGINT and SIGUSR1
  bool tell_termination = false;  // at SIGTERM
};

void InstallStopSignals(const StopSignalOptions& options = {});
bool StopSignalSeen();
bool TerminationSeen();  // SIGTERM: what mpirun sends when another rank died

}  // namespace blockstep
