// Decides whether a resumed run keeps its policy state.
#pragma once

#include <string>

#include "launcher/checkpoint/trainer_state.h"
#include "launcher/config/train_config.h"

namespace blockstep {

// Keeps the checkpoint's policy state if the policy can load it; a script must have the same
// phases. Otherwise resets `state` to a policy that starts at state.step and returns a note to
// print. Optimizer state survives a reset only if the last active rows are also the first active
// rows of the new policy. Requires state.step < train.steps.
absl::StatusOr<std::string> CarryPolicy(const TrainConfig& config, const TensorTable& table,
                                        TrainerState& state);

}  // namespace blockstep
