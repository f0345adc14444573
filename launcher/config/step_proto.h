// Directives and reports between plain structs and proto/step.proto.
#pragma once

#include "absl/status/statusor.h"
#include "core/step/directive.h"
#include "proto/step.pb.h"

namespace blockstep {

proto::Directive ToProto(const Directive& directive);
proto::StepReport ToProto(const StepReport& report);

// INVALID_ARGUMENT: numbers that no directive or report has (an unknown role, from > through).
absl::StatusOr<Directive> FromProto(const proto::Directive& from);
absl::StatusOr<StepReport> FromProto(const proto::StepReport& from);

}  // namespace blockstep
