// A Llama as its Hugging Face config.json describes it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/tensor/tensor_table.h"

namespace blockstep {

enum class RopeType : uint8_t { kDefault, kLinear, kLlama3 };

struct RopeScaling {
  RopeType type = RopeType::kDefault;
  double factor = 1.0;
  double low_freq_factor = 1.0, high_freq_factor = 4.0;  // llama3
  int64_t original_max_position = 8192;                  // llama3
};

struct LlamaConfig {
  int64_t vocab = 0;         // V
  int64_t hidden = 0;        // C
  int64_t intermediate = 0;  // I
  int64_t layers = 0;
  int64_t heads = 0;     // H
  int64_t kv_heads = 0;  // G
  int64_t head_dim = 0;  // D
  int64_t max_positions = 2048;
  double rms_eps = 1e-5;
  double rope_theta = 10000.0;
  RopeScaling rope;
  bool tied = false;
  double init_range = 0.02;  // standard deviation of fresh matrices
  int64_t bos = 1, eos = 2;
  std::string json;  // the text it came from, written back with exported weights

  int64_t parameters() const;
};

// What a model may be at most. None of these is near: the largest published are in brackets. They
// keep every product of sizes within int64, and what a plan walks through (each layer, for each
// phase) within minutes, so that a slip of the keyboard is an error at once.
inline constexpr int64_t kMostVocab = int64_t{1} << 24;      // (256000; ids are int32)
inline constexpr int64_t kMostWidth = int64_t{1} << 20;      // hidden, MLP, all heads (53248)
inline constexpr int64_t kMostLayers = 512;                  // (126)
inline constexpr int64_t kMostPositions = int64_t{1} << 30;  // (10 million)

// Parses config.json's text; `where` names the file in errors. Both spellings of RoPE scaling
// (rope_scaling, rope_parameters) and of the dtype (torch_dtype, dtype) are read; biases, sliding
// windows, other activations, other RoPE types and other model types are refused by name, and so is
// a key that stands there twice. INVALID_ARGUMENT; for the file itself see ReadSmall.
absl::StatusOr<LlamaConfig> ParseLlamaConfig(std::string_view json, std::string_view where);
absl::StatusOr<LlamaConfig> LoadLlamaConfig(const std::string& folder);  // <folder>/config.json
absl::StatusOr<LlamaConfig> ReadLlamaConfig(const std::string& file);
// GaLore's presets: 9m 20m 35m 40m 60m 71m 100m 130m 250m 350m 1b 3b 7b (vocabulary as published
// unless `vocab` > 0). An unknown name is an error that lists them.
absl::StatusOr<LlamaConfig> LlamaPreset(std::string_view name, int64_t vocab);
// config.json in transformers' spelling.
std::string LlamaConfigJson(const LlamaConfig& config);

// Units embedding, layer 0.., head (final norm and LM head); tensors with Hugging Face names.
TensorTable LlamaTensors(const LlamaConfig& config);

}  // namespace blockstep
