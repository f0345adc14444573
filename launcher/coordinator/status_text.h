// The status of a coordinator for programs: JSON, and Prometheus' text format 0.0.4.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "proto/coordinator.pb.h"

namespace blockstep {

// With every field present, under the names of proto/coordinator.proto.
absl::StatusOr<std::string> StatusJson(const proto::StatusReply& status);

inline constexpr char kPrometheusType[] = "text/plain; version=0.0.4; charset=utf-8";

std::string PrometheusText(const proto::StatusReply& status);

}  // namespace blockstep
