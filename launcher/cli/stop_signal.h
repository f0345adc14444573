// Asks to save and stop at the end of the step: SIGUSR1 and SIGTERM. SIGINT too: the second one
// ends the process at once. The handler only sets a flag; the step exchange tells all ranks.
#pragma once

namespace blockstep {

void InstallStopSignals();
bool StopSignalSeen();
bool TerminationSeen();  // SIGTERM: what mpirun sends when another rank died

}  // namespace blockstep
