// Optimizer state of the phase in hand as checkpoints and hashes list it.
#pragma once

#include "launcher/checkpoint/state_sha256.h"
#include "launcher/train/engine/entry_states.h"

namespace blockstep {

// Views of this rank's part; valid as long as the phase.
StateToHash StateOf(EntryStates& states);

}  // namespace blockstep
