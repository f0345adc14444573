#include "launcher/train/state_slices.h"

namespace blockstep {

StateToHash StateOf(EntryStates& states) {
  StateToHash all;
  for (const EntryState& state : states.entries()) {
    for (size_t i = 0; i < state.specs.size(); ++i) {
      all.states.push_back({.tensor = state.entry.tensor,
                            .rows = state.entry.rows,
                            .name = state.specs[i].name,
                            .layout = state.specs[i].layout,
                            .view = state.tensors[i],
                            .row0 = state.rows.begin});
    }
    all.counters.push_back({state.entry.tensor, state.entry.rows, state.step});
  }
  return all;
}

}  // namespace blockstep
