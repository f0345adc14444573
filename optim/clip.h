// From the reduced sum of gradients to the one factor an update multiplies it by.
#pragma once

#include <cmath>
#include <cstdint>

namespace blockstep {

// min(1, max_norm / norm), `norm` being the norm itself, not its square; max_norm <= 0: off. A
// non-finite norm gives 1: such a step is never committed, and must not turn a NaN into 0 here.
inline double ClipFactor(double norm, double max_norm) {
  if (max_norm <= 0 || !std::isfinite(norm) || norm <= max_norm) return 1.0;
  return max_norm / norm;
}

struct GradScaleArgs {
  double squared_norm = 0;  // of the stored gradient, all train entries, all ranks
  double loss_divisor = 1;  // the constant that dlogits were divided by
  int64_t tokens = 0;       // that the step's loss counts, all ranks
  double max_norm = 0;      // of the mean gradient; <= 0: no clipping
};
struct GradScale {
  float factor = 0;  // UpdateArgs::grad_scale: mean over tokens, then clipping
  double norm = 0;   // of the mean gradient before clipping
};

// Stored gradient = d(sum of losses)/loss_divisor; times loss_divisor/tokens it is the mean's. A
// step without tokens has no gradient: both results are 0.
inline GradScale CombineGradScale(const GradScaleArgs& args) {
  if (args.tokens == 0) return {};
  const double mean = args.loss_divisor / static_cast<double>(args.tokens);
  const double norm = std::sqrt(args.squared_norm) * mean;
  return {.factor = static_cast<float>(mean * ClipFactor(norm, args.max_norm)), .norm = norm};
}

}  // namespace blockstep
