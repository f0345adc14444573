// How many threads a rank may use: what affinity and the cgroup's CPU quota leave, dealt to the
// ranks of this machine.
#pragma once

namespace blockstep {

// CPUs in the process's affinity mask, at most the cgroup's quota (v1 or v2) rounded up; at
// least 1.
int UsableCpus();

// UsableCpus() dealt to the `local_ranks` ranks of this machine; at least 1. A rank that its
// launcher bound to a part of the machine's CPUs has those for itself: they are not divided again.
int ThreadsPerRank(int local_ranks);

}  // namespace blockstep
