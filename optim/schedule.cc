#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/base/check.h"

namespace blockstep {

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
