// The state of a run besides weights and optimizer state: position in the data, counters, policy
// state and the directives issued beyond the step. Written as trainer_state.pb.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/step/directive.h"

namespace blockstep {

// Updates so far of one active entry: the step of Adam's bias correction.
struct EntryCounter {
  int tensor = 0;
  Range rows;
  int64_t updates = 0;
  friend bool operator==(const EntryCounter&, const EntryCounter&) = default;
};

struct TrainerState {
  int64_t step = 0;    // the next step to run: `step` steps are done
  int64_t tokens = 0;  // trained on so far
  int64_t slot = 0;    // the next slot inside the epoch's order
  int64_t epoch = 0;
  std::string data_order;  // of which order; a cursor means nothing in another one
  int64_t phase = 0;       // of the step before; tells whether entries' state survives the next one

  std::string run_id;         // 32 hex digits
  std::string parent_run_id;  // the run this one was forked from; empty: none
  std::string config_hash;
  std::string config_text;

  std::string policy_state;           // Policy::SaveState
  std::vector<Directive> directives;  // issued and not finished: through >= step
  std::vector<EntryCounter> counters;

  int64_t bad_steps = 0;  // non-finite steps in a row
  int64_t best_eval_step = -1;
  double best_eval_loss = std::numeric_limits<double>::infinity();
};

std::string SerializeTrainerState(const TrainerState& state);
// `where` names the file in errors.
absl::StatusOr<TrainerState> ParseTrainerState(std::string_view bytes, std::string_view where);

}  // namespace blockstep
