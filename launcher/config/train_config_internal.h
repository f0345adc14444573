// What train_config.cc is made of; for this folder and its tests.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launcher/config/textproto_reader.h"
#include "launcher/config/train_config.h"
#include "proto/config.pb.h"

namespace blockstep {

TrainConfig FromProto(const proto::TrainConfig& from);
// With every field present, defaults too.
proto::TrainConfig ToProto(const TrainConfig& from);

// MathsText of any message whose fields are annotated.
std::string MathsTextOf(const google::protobuf::Message& message);

// Checks fields against each other and against what this build can do. Fills what follows from
// other fields (slot_exact: micro_slots 1, accumulate local), then adds an error for everything
// that cannot be. `locations`: where fields were given.
void Validate(const FieldLocations& locations, std::string_view file, TrainConfig* config,
              std::vector<ConfigError>* errors);

}  // namespace blockstep
