// How much freed memory the C library's malloc keeps for itself.
#pragma once

namespace blockstep {

// Once, before other threads start. By default glibc has up to eight arenas per core, and each of
// the threads that come and go here (gRPC's, MPI's, those that write saves) fills another one with
// what it has freed; and a freed buffer of megabytes raises the size from which blocks go back to
// the system, so that later ones stay. Nothing is in use then, yet a rank grows for hours. From
// here on there are two arenas, blocks of 256 KiB go back at once, and so does more than 256 KiB at
// an arena's end. Nothing inside a step allocates from malloc what is that large.
void LimitHeap();

}  // namespace blockstep
