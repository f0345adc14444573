#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/base/check.h"
#include "core/base/nearest.h"
#include "core/base/status.h"

namespace blockstep {

absl::StatusOr<ScheduleKind> ParseScheduleKind(std::string_view name) {
  if (name == "constant") return ScheduleKind::kConstant;
  if (name == "linear") return ScheduleKind::kLinear;
  if (name == "cosine") return ScheduleKind::kCosine;
  return InvalidArgument("schedule \"", name, "\" is unknown, wanted one of ",
                         KnownNames(name, {"constant", "linear", "cosine"}));
}

absl::Status Validate(const ScheduleConfig& config) {
  std::string wrong;
  if (!(config.peak >= 0) || !std::isfinite(config.peak)) {
    wrong += Cat("lr: ", config.peak, ", wanted a finite number >= 0\n");
  }
  if (config.warmup_steps < 0)
    wrong += Cat("warmup_steps: ", config.warmup_steps, ", wanted >= 0\n");
  if (!(config.floor_ratio >= 0 && config.floor_ratio <= 1)) {
    wrong += Cat("floor_ratio: ", config.floor_ratio, ", wanted inside [0, 1]\n");
  }
  if (wrong.empty()) return absl::OkStatus();
  wrong.pop_back();
  return absl::InvalidArgumentError(wrong);
}

double LearningRate(const ScheduleConfig& config, int64_t step, int64_t total_steps) {
  CHECK_GE(step, 0);
  const int64_t warmup = config.warmup_steps;
  if (step < warmup) {
    return config.peak * static_cast<double>(step + 1) / static_cast<double>(warmup);
  }
  double x = 1;
  if (total_steps > warmup) {
    x = std::min(1.0,
                 static_cast<double>(step - warmup) / static_cast<double>(total_steps - warmup));
  }
  const double f = config.floor_ratio;
  switch (config.kind) {
    case ScheduleKind::kConstant:
      return config.peak;
    case ScheduleKind::kLinear:
      return config.peak * (f + (1 - f) * (1 - x));
    case ScheduleKind::kCosine:
      return config.peak * (f + (1 - f) * 0.5 * (1 + std::cos(std::numbers::pi * x)));
  }
  CHECK(false);
}

}  // namespace blockstep
