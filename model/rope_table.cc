#include "model/rope_table.h"

#include <cmath>
#include <numbers>

namespace blockstep {
namespace {

// Llama 3.1's scaling: long wavelengths are divided by the factor, short ones kept, those between
// blended (transformers, modeling_rope_utils.py: _compute_llama3_parameters).
float ScaleLlama3(float frequency, const RopeScaling& s) {
  const double original = static_cast<double>(s.original_max_position);
  const double wavelength = 2 * std::numbers::pi / frequency;
  if (wavelength > original / s.low_freq_factor) return static_cast<float>(frequency / s.factor);
  if (wavelength < original / s.high_freq_factor) return frequency;
  const double smooth =
      (original / wavelength - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
  return static_cast<float>((1 - smooth) * frequency / s.factor + smooth * frequency);
}

}  // namespace

std::vector<float> RopeFrequencies(const LlamaConfig& config) {
  std::vector<float> frequencies(config.head_dim / 2);
  for (size_t j = 0; j < frequencies.size(); ++j) {
    const float exponent = static_cast<float>(2 * j) / static_cast<float>(config.head_dim);
    const float power = static_cast<float>(std::pow(config.rope_theta, double{exponent}));
    float f = 1.0f / power;
    if (config.rope.type == RopeType::kLinear) f = static_cast<float>(f / config.rope.factor);
    if (config.rope.type == RopeType::kLlama3) f = ScaleLlama3(f, config.rope);
    frequencies[j] = f;
  }
  return frequencies;
}

RopeTable MakeRopeTable(const LlamaConfig& config, int64_t positions) {
  const std::vector<float> frequencies = RopeFrequencies(config);
  RopeTable table;
  table.cos.reserve(positions * frequencies.size());
  table.sin.reserve(positions * frequencies.size());
  for (int64_t p = 0; p < positions; ++p) {
    for (const float f : frequencies) {
      const double angle = static_cast<float>(p) * f;  // rounded to fp32
      table.cos.push_back(static_cast<float>(std::cos(angle)));
      table.sin.push_back(static_cast<float>(std::sin(angle)));
    }
  }
  return table;
}

}  // namespace blockstep
