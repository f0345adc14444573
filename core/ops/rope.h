// Rotary position embedding in place, rotate-half layout as in Hugging Face's Llama: with h = D/2,
//   (x[j], x[j+h]) -> (x[j] cos - x[j+h] sin, x[j+h] cos + x[j] sin),  j < h.
// The backward pass is the rotation by the opposite angle.
#pragma once

#include "core/tensor/tensor_view.h"

namespace blockstep {

enum class RopeDirection : uint8_t { kForward, kBackward };

struct RopeArgs {
  TensorView x;  // (n, heads*D), in place
  int64_t heads = 0;
  int64_t head_dim = 0;         // D, even
  TensorView cos, sin;          // (max positions, D/2) fp32
  int64_t tokens_per_slot = 0;  // T: token i has position i % T + offset
  int64_t position_offset = 0;
  RopeDirection direction = RopeDirection::kForward;
};

}  // namespace blockstep
