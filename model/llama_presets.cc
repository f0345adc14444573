// GaLore's model sizes (Zhao et al. 2024, configs/llama_*.json of its repository): eps 1e-6, 1024
// positions, as many key/value heads as heads, untied.
#include "core/base/status.h"
#include "model/llama_config.h"

namespace blockstep {
namespace {

struct Preset {
  std::string_view name;
  int64_t hidden, intermediate, heads, layers, vocab;
};
constexpr Preset kPresets[] = {
    {"9m", 128, 352, 4, 4, 32000},      {"20m", 256, 688, 4, 4, 32000},
    {"35m", 384, 1024, 8, 6, 32000},    {"40m", 416, 1024, 8, 8, 32000},
    {"60m", 512, 1376, 8, 8, 32000},    {"71m", 512, 1368, 8, 12, 32000},
    {"100m", 640, 1708, 10, 12, 32100}, {"130m", 768, 2048, 12, 12, 32000},
    {"250m", 768, 2560, 16, 24, 32000}, {"350m", 1024, 2736, 16, 24, 32000},
    {"1b", 2048, 5461, 32, 24, 32000},  {"3b", 2560, 6848, 32, 32, 32000},
    {"7b", 4096, 11008, 32, 32, 32000},
};

}  // namespace

absl::StatusOr<LlamaConfig> LlamaPreset(std::string_view name, int64_t vocab) {
  if (vocab > kMostVocab) {
    return InvalidArgument("model.vocab: expected at most ", kMostVocab, ", got ", vocab);
  }
  std::string names;
  for (const Preset& p : kPresets) {
    if (p.name == name) {
      return LlamaConfig{.vocab = vocab > 0 ? vocab : p.vocab,
                         .hidden = p.hidden,
                         .intermediate = p.intermediate,
                         .layers = p.layers,
                         .heads = p.heads,
                         .kv_heads = p.heads,
                         .head_dim = p.hidden / p.heads,
                         .max_positions = 1024,
                         .rms_eps = 1e-6};
    }
    names += Cat(names.empty() ? "" : ", ", p.name);
  }
  return InvalidArgument("model.preset: expected one of ", names, ", got '", name, "'");
}

}  // namespace blockstep
