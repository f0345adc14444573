// Clipping by the norm of all gradients together.
#pragma once

#include <cmath>

namespace blockstep {

// min(1, max_norm / norm), `norm` being the norm itself, not its square; max_norm <= 0: off. A
// non-finite norm gives 1: such a step is never committed, and must not turn a NaN into 0 here.
inline double ClipFactor(double norm, double max_norm) {
  if (max_norm <= 0 || !std::isfinite(norm) || norm <= max_norm) return 1.0;
  return max_norm / norm;
}

}  // namespace blockstep
