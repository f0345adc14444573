// Which sources this program was made of (cmake/build_identity.cmake writes the .cc).
#pragma once

namespace blockstep {

// "blockstep 0.1.0 sources 6f1c...": equal on all ranks and the coordinator, or the coordinator
// refuses one. A hash over the content of the sources, so it is the same wherever they are built.
const char* BuildIdentity();

// The commit it was built at, "-dirty" with changes; "none" outside a clone.
const char* BuildCommit();

}  // namespace blockstep
