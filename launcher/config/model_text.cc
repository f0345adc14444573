#include "launcher/config/model_text.h"

#include <cstdio>
#include <cstdlib>

#include "core/base/str.h"

namespace blockstep {
namespace {

// With the digits that give the same value back, and no more.
std::string Number(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.15g", value);
  if (std::strtod(text, nullptr) != value) std::snprintf(text, sizeof text, "%.17g", value);
  return text;
}

}  // namespace

std::vector<ModelField> ModelFields(const LlamaConfig& m) {
  const auto count = [](int64_t value) { return std::to_string(value); };
  std::vector<ModelField> fields = {
      {"vocab_size", count(m.vocab), true},
      {"hidden_size", count(m.hidden), true},
      {"intermediate_size", count(m.intermediate), true},
      {"num_hidden_layers", count(m.layers), true},
      {"num_attention_heads", count(m.heads), true},
      {"num_key_value_heads", count(m.kv_heads), true},
      {"head_dim", count(m.head_dim), true},
      {"tie_word_embeddings", m.tied ? "true" : "false", true},
      {"rms_norm_eps", Number(m.rms_eps)},
      {"rope_theta", Number(m.rope_theta)},
      {"initializer_range", Number(m.init_range)},
      {"eos_token_id", count(m.eos)},
  };
  // What a type of RoPE does not read is not part of it.
  const RopeScaling& rope = m.rope;
  static constexpr const char* kTypes[] = {"default", "linear", "llama3"};
  fields.push_back({"rope_scaling.rope_type", kTypes[static_cast<size_t>(rope.type)]});
  if (rope.type == RopeType::kDefault) return fields;
  fields.push_back({"rope_scaling.factor", Number(rope.factor)});
  if (rope.type == RopeType::kLinear) return fields;
  fields.push_back({"rope_scaling.low_freq_factor", Number(rope.low_freq_factor)});
  fields.push_back({"rope_scaling.high_freq_factor", Number(rope.high_freq_factor)});
  fields.push_back(
      {"rope_scaling.original_max_position_embeddings", count(rope.original_max_position)});
  return fields;
}

std::string ModelText(const LlamaConfig& model) {
  std::string text;
  for (const ModelField& f : ModelFields(model)) text += Cat("model.", f.name, ": ", f.value, "\n");
  return text;
}

}  // namespace blockstep
