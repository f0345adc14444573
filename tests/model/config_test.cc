#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/str.h"
#include "model/llama_config.h"
#include "nlohmann/json.hpp"

namespace blockstep {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

nlohmann::json Basic() {
  return {{"model_type", "llama"},    {"vocab_size", 100},        {"hidden_size", 64},
          {"intermediate_size", 128}, {"num_hidden_layers", 3},   {"num_attention_heads", 4},
          {"hidden_act", "silu"},     {"torch_dtype", "bfloat16"}};
}
absl::StatusOr<LlamaConfig> Parse(const nlohmann::json& json) {
  return ParseLlamaConfig(json.dump(), "dir/config.json");
}
std::string ErrorOf(const std::string& field, const nlohmann::json& value) {
  nlohmann::json json = Basic();
  json[field] = value;
  const auto config = Parse(json);
  return config.ok() ? "" : std::string(config.status().message());
}

TEST(LlamaConfig, Defaults) {
  const auto c = Parse(Basic());
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->kv_heads, 4);
  EXPECT_EQ(c->head_dim, 16);
  EXPECT_EQ(c->max_positions, 2048);
  EXPECT_EQ(c->rms_eps, 1e-6);
  EXPECT_EQ(c->rope_theta, 10000.0);
  EXPECT_EQ(c->rope.type, RopeType::kDefault);
  EXPECT_FALSE(c->tied);
}

TEST(LlamaConfig, SizesThatNoModelHasAreRefused) {
  const std::pair<const char*, int64_t> most[] = {{"vocab_size", kMostVocab},
                                                  {"hidden_size", kMostWidth},
                                                  {"intermediate_size", kMostWidth},
                                                  {"num_hidden_layers", kMostLayers},
                                                  {"max_position_embeddings", kMostPositions}};
  for (const auto& [field, value] : most) {
    EXPECT_EQ(ErrorOf(field, value), "") << field;
    EXPECT_THAT(ErrorOf(field, value + 1), HasSubstr(Cat(", got ", value + 1)));
    EXPECT_THAT(ErrorOf(field, value + 1), HasSubstr(Cat("at most ", value))) << field;
    EXPECT_NE(ErrorOf(field, UINT64_MAX), "") << field;
  }
  EXPECT_THAT(ErrorOf("num_hidden_layers", 1000000000), HasSubstr("at most 512"));
  // Each is fine by itself, their product is none that a matrix has.
  nlohmann::json wide = Basic();
  wide.update({{"num_attention_heads", 1 << 15}, {"hidden_size", 1 << 15}, {"head_dim", 64}});
  EXPECT_THAT(std::string(Parse(wide).status().message()),
              HasSubstr("head_dim: expected at most 1048576 together with num_attention_heads "
                        "32768, got 64"));
  EXPECT_THAT(ErrorOf("eos_token_id", int64_t{1} << 32), HasSubstr("a token id below"));
  EXPECT_FALSE(LlamaPreset("9m", int64_t{1} << 31).ok());
  EXPECT_TRUE(LlamaPreset("9m", kMostVocab).ok());
}

TEST(LlamaConfig, HostileTextIsOneShortError) {
  const auto error = [](const std::string& text) {
    return std::string(ParseLlamaConfig(text, "c.json").status().message());
  };
  const std::string good = Basic().dump();
  EXPECT_THAT(error(good.substr(0, good.size() - 1) + R"(,"hidden_size":64})"),
              HasSubstr("c.json: expected each key once, got \"hidden_size\" twice"));
  EXPECT_THAT(error(R"({"hidden_act":)" + std::string(1000000, '[')), HasSubstr("nesting"));
  nlohmann::json large = Basic();
  large["hidden_act"] = std::string(1000000, 'x');
  EXPECT_THAT(error(large.dump()), HasSubstr("... (1000002 bytes)"));
  EXPECT_LT(error(large.dump()).size(), 1000u);
  EXPECT_THAT(error("[]"), HasSubstr("c.json: expected a JSON object"));
}

TEST(LlamaConfig, ExplicitFields) {
  nlohmann::json json = Basic();
  json.update({{"num_key_value_heads", 2},
               {"head_dim", 32},
               {"rms_norm_eps", 1e-5},
               {"tie_word_embeddings", true},
               {"eos_token_id", {7, 8}},
               {"max_position_embeddings", 512},
               {"sliding_window", nullptr}});
  const auto c = Parse(json);
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->kv_heads, 2);
  EXPECT_EQ(c->head_dim, 32);
  EXPECT_EQ(c->rms_eps, 1e-5);
  EXPECT_TRUE(c->tied);
  EXPECT_EQ(c->eos, 7);
  EXPECT_EQ(c->max_positions, 512);
}

TEST(LlamaConfig, BothSpellingsOfRope) {
  const nlohmann::json scaling = {{"rope_type", "llama3"},
                                  {"factor", 32.0},
                                  {"low_freq_factor", 1.5},
                                  {"high_freq_factor", 3.5},
                                  {"original_max_position_embeddings", 4096}};
  nlohmann::json old = Basic(), fresh = Basic();
  old["rope_theta"] = 500000.0;
  old["rope_scaling"] = scaling;
  fresh.erase("torch_dtype");
  fresh["dtype"] = "float32";
  fresh["rope_parameters"] = scaling;
  fresh["rope_parameters"]["rope_theta"] = 500000.0;
  for (const auto& json : {old, fresh}) {
    const auto c = Parse(json);
    ASSERT_TRUE(c.ok()) << c.status();
    EXPECT_EQ(c->rope_theta, 500000.0);
    EXPECT_EQ(c->rope.type, RopeType::kLlama3);
    EXPECT_EQ(c->rope.factor, 32.0);
    EXPECT_EQ(c->rope.low_freq_factor, 1.5);
    EXPECT_EQ(c->rope.high_freq_factor, 3.5);
    EXPECT_EQ(c->rope.original_max_position, 4096);
  }
  // The oldest spelling says "type".
  old["rope_scaling"] = {{"type", "linear"}, {"factor", 4}};
  const auto linear = Parse(old);
  ASSERT_TRUE(linear.ok()) << linear.status();
  EXPECT_EQ(linear->rope.type, RopeType::kLinear);
  EXPECT_EQ(linear->rope.factor, 4.0);
}

TEST(LlamaConfig, RefusesByName) {
  const auto refused = [](const std::string& field, const nlohmann::json& value,
                          const std::string& shown) {
    EXPECT_THAT(ErrorOf(field, value),
                AllOf(HasSubstr("dir/config.json"), HasSubstr(shown), HasSubstr("expected")));
  };
  refused("model_type", "mistral", "model_type: expected \"llama\", got \"mistral\"");
  refused("attention_bias", true, "attention_bias: expected false, got true");
  refused("mlp_bias", true, "mlp_bias: expected false, got true");
  refused("hidden_act", "gelu", "hidden_act: expected \"silu\", got \"gelu\"");
  refused("sliding_window", 4096, "sliding_window: expected none, got 4096");
  refused("attention_dropout", 0.1, "attention_dropout: expected 0.0, got 0.1");
  refused("quantization_config", {{"bits", 4}}, "quantization_config");
  refused("torch_dtype", "int8",
          "dtype: expected \"float32\", \"bfloat16\" or \"float16\", got \"int8\"");
  refused("num_key_value_heads", 3,
          "num_key_value_heads: expected a divisor of num_attention_heads 4, got 3");
  refused("num_attention_heads", 5,
          "num_attention_heads: expected a divisor of hidden_size 64, got 5");
  refused("head_dim", 15, "head_dim: expected an even number (RoPE), got 15");
  refused("vocab_size", -1, "vocab_size: expected a positive integer, got -1");
  refused("vocab_size", "many", "vocab_size: expected a positive integer, got \"many\"");
  refused("hidden_size", 1e30, "hidden_size");
  refused("rms_norm_eps", 0, "rms_norm_eps: expected a positive number, got 0");
  refused("rope_scaling", "yarn", "rope_scaling: expected an object, got \"yarn\"");
  refused("partial_rotary_factor", 0.5, "partial_rotary_factor: expected 1.0, got 0.5");
  for (const char* type : {"yarn", "dynamic", "longrope", "su"}) {
    refused("rope_scaling", {{"rope_type", type}, {"factor", 2.0}},
            Cat("rope_scaling.rope_type: expected \"default\", \"linear\" or \"llama3\", got \"",
                type, "\""));
    refused("rope_parameters", {{"rope_type", type}, {"factor", 2.0}},
            Cat("rope_parameters.rope_type: expected \"default\", \"linear\" or \"llama3\", got \"",
                type, "\""));
  }
  refused("rope_scaling", {{"rope_type", "linear"}},
          "rope_scaling.factor: expected a positive number, got nothing");
}

TEST(LlamaConfig, ErrorsComeAllAtOnce) {
  nlohmann::json json = Basic();
  json["attention_bias"] = true;
  json["sliding_window"] = 8;
  json.erase("hidden_size");
  const auto c = Parse(json);
  ASSERT_FALSE(c.ok());
  EXPECT_THAT(std::string(c.status().message()),
              AllOf(HasSubstr("attention_bias"), HasSubstr("sliding_window"),
                    HasSubstr("hidden_size: expected a positive integer, got nothing"),
                    Not(HasSubstr("mlp_bias"))));
}

TEST(LlamaConfig, NotJson) {
  EXPECT_FALSE(ParseLlamaConfig("{", "x").ok());
  EXPECT_FALSE(ParseLlamaConfig("[]", "x").ok());
  EXPECT_FALSE(LoadLlamaConfig("/nowhere").ok());
}

// Totals published with GaLore (Zhao et al. 2024).
TEST(LlamaPresets, ParameterCounts) {
  const struct {
    const char* name;
    int64_t parameters;
  } kPublished[] = {{"60m", 58073600},
                    {"130m", 134105856},
                    {"350m", 367969280},
                    {"1b", 1339082752},
                    {"7b", 6738415616}};
  for (const auto& p : kPublished) {
    const auto c = LlamaPreset(p.name, 0);
    ASSERT_TRUE(c.ok());
    EXPECT_EQ(c->parameters(), p.parameters) << p.name;
  }
  for (const char* name : {"9m", "20m", "35m", "40m", "71m", "100m", "250m", "3b"}) {
    const auto c = LlamaPreset(name, 0);
    ASSERT_TRUE(c.ok()) << name;
    EXPECT_EQ(c->vocab, std::string(name) == "100m" ? 32100 : 32000);
    EXPECT_EQ(c->hidden % c->heads, 0) << name;
  }
  EXPECT_EQ(LlamaPreset("9m", 4096)->vocab, 4096);
  EXPECT_THAT(std::string(LlamaPreset("8b", 0).status().message()),
              AllOf(HasSubstr("'8b'"), HasSubstr("350m")));
}

TEST(LlamaConfigJson, ReadsBack) {
  for (const char* name : {"9m", "100m"}) {
    LlamaConfig config = *LlamaPreset(name, 0);
    config.tied = true;
    config.kv_heads = 2;
    config.rope_theta = 5e5;
    config.rope = {.type = RopeType::kLlama3, .factor = 8, .low_freq_factor = 2};
    const auto again = ParseLlamaConfig(LlamaConfigJson(config), "again");
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->vocab, config.vocab);
    EXPECT_EQ(again->intermediate, config.intermediate);
    EXPECT_EQ(again->kv_heads, 2);
    EXPECT_EQ(again->head_dim, config.head_dim);
    EXPECT_EQ(again->rms_eps, config.rms_eps);
    EXPECT_EQ(again->rope_theta, 5e5);
    EXPECT_EQ(again->rope.type, RopeType::kLlama3);
    EXPECT_EQ(again->rope.low_freq_factor, 2);
    EXPECT_TRUE(again->tied);
  }
}

// What came with a model goes back with it, fields that we do not know included; weights are F32.
TEST(LlamaConfigJson, KeepsForeignFields) {
  nlohmann::json json = Basic();
  json["chat"] = "yes";
  const auto config = Parse(json);
  ASSERT_TRUE(config.ok());
  const auto out = nlohmann::json::parse(LlamaConfigJson(*config));
  EXPECT_EQ(out["chat"], "yes");
  EXPECT_EQ(out["torch_dtype"], "float32");
  EXPECT_EQ(out["hidden_size"], 64);
}

TEST(LlamaTensors, NamesAndUnits) {
  LlamaConfig config = *Parse(Basic());
  const TensorTable t = LlamaTensors(config);
  ASSERT_EQ(t.tensors.size(), 1u + 3 * 9 + 2);
  EXPECT_EQ(t.tensors[0].name, "model.embed_tokens.weight");
  EXPECT_EQ(t.tensors[10].name, "model.layers.1.self_attn.q_proj.weight");
  EXPECT_EQ(t.tensors[9].name, "model.layers.0.post_attention_layernorm.weight");
  EXPECT_TRUE(t.tensors[9].vector);
  EXPECT_FALSE(t.tensors[9].decay);
  EXPECT_EQ(t.tensors[9].init, InitKind::kOnes);
  EXPECT_EQ(t.tensors.back().name, "lm_head.weight");
  ASSERT_EQ(t.units.size(), 5u);
  EXPECT_EQ(t.units[1].name, "layer 0");
  EXPECT_EQ(t.units[4].kind, UnitKind::kHead);
  EXPECT_EQ(t.units[4].tensors, (std::vector<int>{28, 29}));
  for (size_t u = 0; u < t.units.size(); ++u) {
    for (int tensor : t.units[u].tensors) EXPECT_EQ(t.tensors[tensor].unit, static_cast<int>(u));
  }
  config.tied = true;
  const TensorTable tied = LlamaTensors(config);
  EXPECT_TRUE(tied.tied);
  EXPECT_EQ(tied.Find("lm_head.weight"), -1);
  EXPECT_EQ(tied.units[4].tensors, (std::vector<int>{28}));
}

}  // namespace
}  // namespace blockstep
