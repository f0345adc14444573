// Directives, reports and stages between plain structs and their messages.
#pragma once

#include "absl/status/statusor.h"
#include "core/step/directive.h"
#include "core/step/run_stage.h"
#include "proto/coordinator.pb.h"
#include "proto/step.pb.h"

namespace blockstep {

proto::Directive ToProto(const Directive& directive);
proto::StepReport ToProto(const StepReport& report);

// INVALID_ARGUMENT: numbers that no directive or report has (an unknown role, from > through).
absl::StatusOr<Directive> FromProto(const proto::Directive& from);
absl::StatusOr<StepReport> FromProto(const proto::StepReport& from);

// RunStage, both ways and exhaustively: neither enum can grow without the other.
proto::Stage ToProto(RunStage stage);
// A value that this build does not know is kUnknown: it is for people only.
RunStage FromProto(proto::Stage stage);

}  // namespace blockstep
