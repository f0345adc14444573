// TrainConfig between its text form and plain structs.
#pragma once

#include "launcher/config/train_config.h"
#include "proto/config.pb.h"

namespace blockstep {

TrainConfig FromProto(const proto::TrainConfig& from);
// With every field present, defaults too.
proto::TrainConfig ToProto(const TrainConfig& from);

// MathsText of any message whose fields are annotated.
std::string MathsTextOf(const google::protobuf::Message& message);

}  // namespace blockstep
