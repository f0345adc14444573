#include "model/llama_config.h"

#include <algorithm>
#include <cmath>

#include "core/base/shown.h"
#include "core/base/status.h"
#include "core/io/file_ops.h"
#include "core/io/json_text.h"
#include "nlohmann/json.hpp"

namespace blockstep {
namespace {

using nlohmann::json;

// Reads fields of one JSON object and collects every complaint, so that they come all at once.
class Fields {
 public:
  Fields(const json& object, std::string prefix, std::string* errors)
      : object_(object), prefix_(std::move(prefix)), errors_(errors) {}

  // Null means absent, as in transformers.
  const json* Find(const char* name) const {
    const auto at = object_.find(name);
    return at == object_.end() || at->is_null() ? nullptr : &*at;
  }
  template <typename Found>
  void Complain(std::string_view name, const Found& found, std::string_view wanted) const {
    *errors_ += Cat("\n  ", prefix_, name, ": expected ", wanted, ", got ", found);
  }

  int64_t Count(const char* name, int64_t otherwise, int64_t most) const {
    const json* value = Find(name);
    if (value == nullptr && otherwise != kRequired) return otherwise;
    // Above 2^63 it reads as a negative number.
    const int64_t count =
        value != nullptr && value->is_number_integer() ? value->get<int64_t>() : 0;
    if (count >= 1 && count <= most) return count;
    Complain(name, value == nullptr ? "nothing" : Shown(value->dump()),
             count > most ? Cat("at most ", most) : "a positive integer");
    return 1;
  }
  int64_t TokenId(const char* name, int64_t otherwise) const {
    const json* value = Find(name);
    if (value == nullptr) return otherwise;
    // Llama 3.1 lists several end tokens; the first one ends a document.
    if (value->is_array() && !value->empty()) value = &(*value)[0];
    const int64_t id = value->is_number_integer() ? value->get<int64_t>() : kMostVocab;
    if (id >= -1 && id < kMostVocab) return id;  // -1: none
    Complain(name, Shown(value->dump()), Cat("a token id below ", kMostVocab));
    return otherwise;
  }
  double Number(const char* name, double otherwise) const {
    const json* value = Find(name);
    if (value == nullptr) return otherwise;
    if (value->is_number() && std::isfinite(value->get<double>()) && value->get<double>() > 0) {
      return value->get<double>();
    }
    Complain(name, Shown(value->dump()), "a positive number");
    return otherwise;
  }
  bool Flag(const char* name) const {
    const json* value = Find(name);
    if (value == nullptr) return false;
    if (value->is_boolean()) return value->get<bool>();
    Complain(name, Shown(value->dump()), "true or false");
    return false;
  }
  // The field, if it is there, is exactly `wanted`: another value is a model we do not compute.
  void Only(const char* name, const json& wanted) const {
    const json* value = Find(name);
    if (value != nullptr && *value != wanted) Complain(name, Shown(value->dump()), wanted.dump());
  }

  static constexpr int64_t kRequired = -1;

 private:
  const json& object_;
  std::string prefix_;
  std::string* errors_;
};

void ParseScaling(const Fields& f, const LlamaConfig& config, RopeScaling& rope) {
  f.Only("partial_rotary_factor", 1.0);
  const json* type = f.Find("rope_type");
  if (type == nullptr) type = f.Find("type");
  if (type == nullptr || *type == "default") return;
  if (*type == "linear") {
    rope.type = RopeType::kLinear;
  } else if (*type == "llama3") {
    rope.type = RopeType::kLlama3;
    rope.low_freq_factor = f.Number("low_freq_factor", 1.0);
    rope.high_freq_factor = f.Number("high_freq_factor", 4.0);
    rope.original_max_position =
        f.Count("original_max_position_embeddings", config.max_positions, kMostPositions);
    if (rope.high_freq_factor <= rope.low_freq_factor) {
      f.Complain("high_freq_factor", rope.high_freq_factor, "more than low_freq_factor");
    }
  } else {
    f.Complain("rope_type", Shown(type->dump()), "\"default\", \"linear\" or \"llama3\"");
  }
  if (f.Find("factor") == nullptr) f.Complain("factor", "nothing", "a positive number");
  rope.factor = f.Number("factor", 1.0);
}

// transformers 4 writes rope_theta beside rope_scaling, transformers 5 both inside rope_parameters.
void ParseRope(const Fields& f, LlamaConfig& config, std::string* errors) {
  config.rope_theta = f.Number("rope_theta", 10000.0);
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    const json* value = f.Find(name);
    if (value == nullptr) continue;
    if (!value->is_object()) {
      f.Complain(name, Shown(value->dump()), "an object");
      continue;
    }
    const Fields inner(*value, Cat(name, "."), errors);
    config.rope_theta = inner.Number("rope_theta", config.rope_theta);
    ParseScaling(inner, config, config.rope);
  }
}

void RefuseOtherModels(const Fields& f) {
  const json* type = f.Find("model_type");
  if (type == nullptr || *type != "llama") {
    f.Complain("model_type", type == nullptr ? "nothing" : Shown(type->dump()), "\"llama\"");
  }
  f.Only("hidden_act", "silu");
  f.Only("attention_bias", false);
  f.Only("mlp_bias", false);
  f.Only("attention_dropout", 0.0);
  f.Only("partial_rotary_factor", 1.0);
  f.Only("rope_interleaved", false);
  for (const char* name : {"sliding_window", "quantization_config", "num_local_experts"}) {
    const json* value = f.Find(name);
    if (value != nullptr) f.Complain(name, Shown(value->dump()), "none");
  }
  const json* dtype = f.Find("dtype");
  if (dtype == nullptr) dtype = f.Find("torch_dtype");
  if (dtype != nullptr && *dtype != "float32" && *dtype != "bfloat16" && *dtype != "float16") {
    f.Complain("dtype", Shown(dtype->dump()), "\"float32\", \"bfloat16\" or \"float16\"");
  }
}

void CheckShapes(const Fields& f, const LlamaConfig& c) {
  if (c.heads % c.kv_heads != 0) {
    f.Complain("num_key_value_heads", c.kv_heads,
               Cat("a divisor of num_attention_heads ", c.heads));
  }
  if (f.Find("head_dim") == nullptr && c.hidden % c.heads != 0) {
    f.Complain("num_attention_heads", c.heads, Cat("a divisor of hidden_size ", c.hidden));
  }
  if (c.heads * c.head_dim > kMostWidth) {
    f.Complain("head_dim", c.head_dim,
               Cat("at most ", kMostWidth, " together with num_attention_heads ", c.heads));
  }
  if (c.head_dim % 2 != 0) f.Complain("head_dim", c.head_dim, "an even number (RoPE)");
}

}  // namespace

absl::StatusOr<LlamaConfig> ParseLlamaConfig(std::string_view text, std::string_view where) {
  const absl::StatusOr<json> parsed = ParseJson(text);
  if (!parsed.ok()) return Annotate(parsed.status(), where);
  const json& object = *parsed;
  if (!object.is_object()) return InvalidArgument(where, ": expected a JSON object");
  std::string errors;
  const Fields f(object, "", &errors);
  RefuseOtherModels(f);
  LlamaConfig c;
  c.vocab = f.Count("vocab_size", Fields::kRequired, kMostVocab);
  c.hidden = f.Count("hidden_size", Fields::kRequired, kMostWidth);
  c.intermediate = f.Count("intermediate_size", Fields::kRequired, kMostWidth);
  c.layers = f.Count("num_hidden_layers", Fields::kRequired, kMostLayers);
  c.heads = f.Count("num_attention_heads", Fields::kRequired, kMostWidth);
  c.kv_heads = f.Count("num_key_value_heads", c.heads, kMostWidth);
  c.head_dim = f.Count("head_dim", std::max<int64_t>(1, c.hidden / c.heads), kMostWidth);
  c.max_positions = f.Count("max_position_embeddings",
                            f.Count("max_sequence_length", 2048, kMostPositions), kMostPositions);
  c.rms_eps = f.Number("rms_norm_eps", 1e-6);
  c.init_range = f.Number("initializer_range", 0.02);
  c.bos = f.TokenId("bos_token_id", 1);
  c.eos = f.TokenId("eos_token_id", -1);
  c.tied = f.Flag("tie_word_embeddings");
  ParseRope(f, c, &errors);
  CheckShapes(f, c);
  if (!errors.empty()) {
    return InvalidArgument(where, ": unsupported model:", errors);
  }
  c.json = std::string(text);
  return c;
}

absl::StatusOr<LlamaConfig> LoadLlamaConfig(const std::string& folder) {
  return ReadLlamaConfig(folder + "/config.json");
}

absl::StatusOr<LlamaConfig> ReadLlamaConfig(const std::string& file) {
  constexpr int64_t kMostBytes = int64_t{16} << 20;
  ASSIGN_OR_RETURN(const std::string text, ReadSmall(file, kMostBytes));
  return ParseLlamaConfig(text, file);
}

std::string LlamaConfigJson(const LlamaConfig& c) {
  if (!c.json.empty()) {
    // What it came with, but for the dtype: weights are written in F32.
    auto object = nlohmann::ordered_json::parse(c.json);
    const char* dtype = object.contains("dtype") ? "dtype" : "torch_dtype";
    object[dtype] = "float32";
    return object.dump(2) + "\n";
  }
  // transformers 4's spelling, which transformers 5 reads too.
  nlohmann::ordered_json scaling;
  if (c.rope.type != RopeType::kDefault) {
    scaling["rope_type"] = c.rope.type == RopeType::kLinear ? "linear" : "llama3";
    scaling["factor"] = c.rope.factor;
  }
  if (c.rope.type == RopeType::kLlama3) {
    scaling["low_freq_factor"] = c.rope.low_freq_factor;
    scaling["high_freq_factor"] = c.rope.high_freq_factor;
    scaling["original_max_position_embeddings"] = c.rope.original_max_position;
  }
  const nlohmann::ordered_json object = {{"architectures", {"LlamaForCausalLM"}},
                                         {"model_type", "llama"},
                                         {"vocab_size", c.vocab},
                                         {"hidden_size", c.hidden},
                                         {"intermediate_size", c.intermediate},
                                         {"num_hidden_layers", c.layers},
                                         {"num_attention_heads", c.heads},
                                         {"num_key_value_heads", c.kv_heads},
                                         {"head_dim", c.head_dim},
                                         {"max_position_embeddings", c.max_positions},
                                         {"rms_norm_eps", c.rms_eps},
                                         {"rope_theta", c.rope_theta},
                                         {"rope_scaling", scaling},
                                         {"hidden_act", "silu"},
                                         {"attention_bias", false},
                                         {"mlp_bias", false},
                                         {"tie_word_embeddings", c.tied},
                                         {"initializer_range", c.init_range},
                                         {"bos_token_id", c.bos},
                                         {"eos_token_id", c.eos},
                                         {"torch_dtype", "float32"}};
  return object.dump(2) + "\n";
}

}  // namespace blockstep
