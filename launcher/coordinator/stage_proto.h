// RunStage on the wire, both ways and exhaustively: neither enum can grow without the other.
#pragma once

#include "core/step/run_stage.h"
#include "proto/coordinator.pb.h"

namespace blockstep {

proto::Stage ToProto(RunStage stage);
// A value that this build does not know is kUnknown: it is for people only.
RunStage FromProto(proto::Stage stage);

}  // namespace blockstep
