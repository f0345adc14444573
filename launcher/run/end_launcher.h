// After a report of a hang: mpirun tells the daemons of all hosts to end, and waits for a host that
// was cut off until TCP gives up, about a quarter of an hour. Nobody else would end it.
#pragma once

namespace blockstep {

// If this process was started by an mpirun on this machine, leaves a small process behind that
// kills that mpirun where it is still there `after_s` seconds from now; its daemons end when they
// lose it.
inline constexpr unsigned kLauncherEndsWithinS = 10;
void EndLauncherLater(unsigned after_s);

}  // namespace blockstep
