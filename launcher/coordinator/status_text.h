// What /metrics answers: Prometheus' text format 0.0.4.
#pragma once

#include <string>

#include "proto/coordinator.pb.h"

namespace blockstep {

inline constexpr char kPrometheusType[] = "text/plain; version=0.0.4; charset=utf-8";

std::string PrometheusText(const proto::StatusReply& status);

}  // namespace blockstep
