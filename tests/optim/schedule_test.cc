#include "optim/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

namespace blockstep {
namespace {

constexpr auto kConstant = ScheduleKind::kConstant;
constexpr auto kLinear = ScheduleKind::kLinear;
constexpr auto kCosine = ScheduleKind::kCosine;

TEST(Schedule, Table) {
  struct Row {
    ScheduleKind kind;
    double peak, floor;
    int64_t warmup, step, total;
    double wanted;
  };
  const double middle = 0.1 + 0.9 * (1 + std::sqrt(0.5)) / 2;  // cosine at x = 1/4
  const Row rows[] = {
      // GaLore's 60m run: the figures of its LambdaLR at t = 1000, 5500, 10000.
      {kCosine, 0.01, 0.1, 1000, 1000, 10000, 0.01},
      {kCosine, 0.01, 0.1, 1000, 5500, 10000, 0.0055},
      {kCosine, 0.01, 0.1, 1000, 10000, 10000, 0.001},
      {kCosine, 0.01, 0.1, 1000, 0, 10000, 1e-5},
      {kCosine, 0.01, 0.1, 1000, 999, 10000, 0.01},
      {kCosine, 1, 0.1, 20, 40, 100, middle},
      {kCosine, 1, 0.1, 0, 100000, 100, 0.1},  // beyond the total: the floor
      {kCosine, 1, 0.0, 0, 50, 100, 0.5},
      {kCosine, 1, 0.1, 0, 0, 1, 1},  // one step, no warm-up: the peak
      {kCosine, 1, 0.1, 1, 0, 1, 1},
      {kCosine, 1, 0.1, 4, 1, 2, 0.5},   // a run that ends inside the warm-up
      {kCosine, 1, 0.1, 4, 7, 4, 0.1},   // nothing left after the warm-up
      {kCosine, 1, 1.0, 0, 77, 100, 1},  // floor = peak
      {kLinear, 2, 0.5, 10, 4, 110, 1},
      {kLinear, 2, 0.5, 10, 10, 110, 2},
      {kLinear, 2, 0.5, 10, 60, 110, 1.5},
      {kLinear, 2, 0.0, 0, 99, 100, 0.02},
      {kLinear, 2, 0.5, 10, 500, 110, 1},
      {kConstant, 3, 0.0, 2, 0, 10, 1.5},
      {kConstant, 3, 0.0, 2, 9, 10, 3},
      {kConstant, 3, 0.0, 0, 1000, 10, 3},
  };
  for (const Row& r : rows) {
    const ScheduleConfig config{
        .kind = r.kind, .peak = r.peak, .warmup_steps = r.warmup, .floor_ratio = r.floor};
    EXPECT_NEAR(LearningRate(config, r.step, r.total), r.wanted, 1e-15 * std::abs(r.wanted) + 1e-17)
        << "kind " << static_cast<int>(r.kind) << " step " << r.step << " of " << r.total;
  }
}

}  // namespace
}  // namespace blockstep
