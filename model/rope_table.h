// Rotary angles as transformers computes them: inverse frequencies rounded to fp32, then scaled,
// the angle position * frequency rounded to fp32, its cosine and sine rounded to fp32.
#pragma once

#include <cstdint>
#include <vector>

#include "model/llama_config.h"

namespace blockstep {

// (D/2), with default, linear or llama3 scaling applied.
std::vector<float> RopeFrequencies(const LlamaConfig& config);

struct RopeTable {
  std::vector<float> cos, sin;  // (positions, D/2)
};
RopeTable MakeRopeTable(const LlamaConfig& config, int64_t positions);

}  // namespace blockstep
