// Ends a hanging mpirun: after a hang report it tells the daemons of all hosts to exit, and waits
// for an unreachable host until TCP times out, about 15 minutes.
#pragma once

namespace blockstep {

// If an mpirun on this machine started this process, forks a small process that kills that mpirun
// after `after_s` seconds unless it has ended by then. Its daemons exit when they lose the
// connection to it.
inline constexpr unsigned kLauncherEndsWithinS = 10;
void EndLauncherLater(unsigned after_s);

}  // namespace blockstep
