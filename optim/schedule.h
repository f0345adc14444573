// Learning-rate schedules: a pure function of the step, so switches of the active set, restarts and
// the number of ranks leave it alone.
//
// With s the step from 0, W warm-up steps, T total steps, f the floor as a share of the peak:
//   s < W:  peak * (s + 1) / W                       the first step learns, step W-1 is at the peak
//   else    x = min(1, (s - W) / (T - W)), 1 if T <= W
//     constant  peak
//     linear    peak * (f + (1 - f) * (1 - x))
//     cosine    peak * (f + (1 - f) * (1 + cos(pi x)) / 2)
// x reaches 1 at step T, one past the last, as in transformers' and GaLore's schedulers; steps
// beyond stay at the floor.
#pragma once

#include <cstdint>

namespace blockstep {

enum class ScheduleKind : uint8_t { kConstant, kLinear, kCosine };

struct ScheduleConfig {
  ScheduleKind kind = ScheduleKind::kCosine;
  double peak = 1e-3;
  int64_t warmup_steps = 0;
  double floor_ratio = 0.1;  // of the peak, in [0, 1]
};

// The rate of step `step` (from 0) of a run of `total_steps`.
double LearningRate(const ScheduleConfig& config, int64_t step, int64_t total_steps);

}  // namespace blockstep
