// Fields against each other and against what this build can do.
#pragma once

#include <vector>

#include "launcher/config/textproto_reader.h"
#include "launcher/config/train_config.h"

namespace blockstep {

// Fills what follows from other fields (slot_exact: micro_slots 1, accumulate local), then adds an
// error for everything that cannot be. `locations`: where fields were given.
void Validate(const FieldLocations& locations, std::string_view file, TrainConfig* config,
              std::vector<ConfigError>* errors);

}  // namespace blockstep
