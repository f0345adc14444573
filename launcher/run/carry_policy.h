// What becomes of the policy when a run goes on from a checkpoint.
#pragma once

#include <string>

#include "launcher/checkpoint/trainer_state.h"
#include "launcher/config/train_config.h"

namespace blockstep {

// The policy goes on where it was if it understands the checkpoint's state; of a script, every
// phase has to be the same. Else `state` gets that of a policy which begins at state.step, and a
// text for people is returned. Optimizer state survives that only if the rows that learned last
// are the first to learn again. Wants state.step < train.steps.
absl::StatusOr<std::string> CarryPolicy(const TrainConfig& config, const TensorTable& table,
                                        TrainerState& state);

}  // namespace blockstep
