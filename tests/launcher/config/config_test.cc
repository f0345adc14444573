#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "launcher/config/model_text.h"
#include "launcher/config/textproto_reader.h"
#include "launcher/config/train_config.h"
#include "launcher/config/train_config_internal.h"
#include "tests/launcher/config/all_fields.h"

namespace blockstep {
namespace {

using google::protobuf::FieldDescriptor;
using testing::HasSubstr;
using testing::Not;

constexpr char kSmall[] = "model { preset: \"9m\" }\n";

TrainConfig Parse(std::string_view text, const std::vector<std::string>& overrides = {}) {
  auto config = ParseTrainConfig(text, "run.txt", overrides);
  EXPECT_TRUE(config.ok()) << config.status().ToString();
  return config.ok() ? *config : TrainConfig();
}

std::string HashOf(const TrainConfig& config, const LlamaConfig& model = {}) {
  return ConfigHash(config, model);
}

std::string ErrorOf(std::string_view text, const std::vector<std::string>& overrides = {}) {
  return std::string(ParseTrainConfig(text, "run.txt", overrides).status().message());
}

TEST(TrainConfig, PlainDefaultsAreTheProtoDefaults) {
  EXPECT_EQ(PrintTrainConfig(TrainConfig()), PrintTrainConfig(FromProto(proto::TrainConfig())));
}

TEST(TrainConfig, EveryFieldIsAnnotated) {
  for (const FieldInfo& field : AllFields(proto::TrainConfig::descriptor())) {
    EXPECT_NE(field.kind, proto::UNANNOTATED) << field.path;
  }
}

// A value that differs from the default, as --set takes it; only for parsing without checks.
std::string OtherValue(const FieldDescriptor* field) {
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return "other:1";
    case FieldDescriptor::CPPTYPE_BOOL:
      return field->default_value_bool() ? "false" : "true";
    case FieldDescriptor::CPPTYPE_INT64:
      return std::to_string(field->default_value_int64() + 1);
    case FieldDescriptor::CPPTYPE_UINT64:
      return std::to_string(field->default_value_uint64() + 1);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return std::to_string(field->default_value_double() + 0.25);
    default: {
      const int next = field->default_value_enum()->index() + 1;
      return field->enum_type()->value(next % field->enum_type()->value_count())->name();
    }
  }
}

TEST(TrainConfig, EachFieldReachesThePlainStructAndOnlyMathsReachTheHash) {
  const std::string hash = HashOf(TrainConfig());
  const std::string print = PrintTrainConfig(TrainConfig());
  std::set<std::string> one_valued = {"optimizer.rule"};
  for (const FieldInfo& field : AllFields(proto::TrainConfig::descriptor())) {
    if (field.path.find("policy.phase.") == 0 || one_valued.count(field.path) > 0) continue;
    proto::TrainConfig wire;
    FieldLocations locations;
    std::vector<ConfigError> errors;
    ApplyOverrides({field.path + "=" + OtherValue(field.field)}, &wire, &locations, &errors);
    ASSERT_TRUE(errors.empty()) << field.path << ": " << errors[0].text;
    const TrainConfig config = FromProto(wire);
    EXPECT_NE(PrintTrainConfig(config), print) << field.path << " was lost on the way";
    EXPECT_EQ(HashOf(config) != hash, field.kind == proto::MATHS) << field.path;
  }
}

TEST(TrainConfig, RanksShareEveryFieldButPlacesOfInputsAndTheirOwn) {
  const std::string shared = SharedText(TrainConfig());
  std::set<std::string> own;
  for (const FieldInfo& field : AllFields(proto::TrainConfig::descriptor())) {
    if (field.path.find("policy.phase.") == 0 || field.path == "optimizer.rule") continue;
    proto::TrainConfig wire;
    FieldLocations locations;
    std::vector<ConfigError> errors;
    ApplyOverrides({field.path + "=" + OtherValue(field.field)}, &wire, &locations, &errors);
    if (SharedText(FromProto(wire)) == shared) own.insert(field.path);
  }
  EXPECT_THAT(
      own, testing::ElementsAre("coordinator.tls_ca", "coordinator.tls_cert", "coordinator.tls_key",
                                "data.train", "data.val", "model.config", "model.path",
                                "model.preset", "model.vocab", "runtime.memory_limit_bytes",
                                "runtime.threads", "runtime.trace"));
}

// The name of a file is no maths; what the model is, is.
TEST(ModelText, EachFieldOfTheModelReachesTheHash) {
  const struct {
    const char* line;
    void (*change)(LlamaConfig&);
  } cases[] = {
      {"model.vocab_size: 7", [](LlamaConfig& m) { m.vocab = 7; }},
      {"model.hidden_size: 7", [](LlamaConfig& m) { m.hidden = 7; }},
      {"model.intermediate_size: 7", [](LlamaConfig& m) { m.intermediate = 7; }},
      {"model.num_hidden_layers: 7", [](LlamaConfig& m) { m.layers = 7; }},
      {"model.num_attention_heads: 7", [](LlamaConfig& m) { m.heads = 7; }},
      {"model.num_key_value_heads: 7", [](LlamaConfig& m) { m.kv_heads = 7; }},
      {"model.head_dim: 7", [](LlamaConfig& m) { m.head_dim = 7; }},
      {"model.tie_word_embeddings: true", [](LlamaConfig& m) { m.tied = true; }},
      {"model.rms_norm_eps: 1e-06", [](LlamaConfig& m) { m.rms_eps = 1e-6; }},
      {"model.rope_theta: 500000", [](LlamaConfig& m) { m.rope_theta = 500000; }},
      {"model.rope_theta: 0.10000000000000002",
       [](LlamaConfig& m) { m.rope_theta = 0.10000000000000002; }},
      {"model.initializer_range: 0.03", [](LlamaConfig& m) { m.init_range = 0.03; }},
      {"model.eos_token_id: 7", [](LlamaConfig& m) { m.eos = 7; }},
      {"model.rope_scaling.rope_type: linear",
       [](LlamaConfig& m) { m.rope.type = RopeType::kLinear; }},
      {"model.rope_scaling.factor: 8",
       [](LlamaConfig& m) { m.rope = {.type = RopeType::kLinear, .factor = 8}; }},
      {"model.rope_scaling.low_freq_factor: 3",
       [](LlamaConfig& m) { m.rope = {.type = RopeType::kLlama3, .low_freq_factor = 3}; }},
      {"model.rope_scaling.high_freq_factor: 3",
       [](LlamaConfig& m) { m.rope = {.type = RopeType::kLlama3, .high_freq_factor = 3}; }},
      {"model.rope_scaling.original_max_position_embeddings: 3",
       [](LlamaConfig& m) { m.rope = {.type = RopeType::kLlama3, .original_max_position = 3}; }},
  };
  std::set<std::string> hashes = {HashOf(TrainConfig())};
  for (const auto& c : cases) {
    LlamaConfig model;
    c.change(model);
    EXPECT_THAT(ModelText(model), HasSubstr(std::string(c.line) + "\n"));
    EXPECT_TRUE(hashes.insert(HashOf(TrainConfig(), model)).second) << c.line;
  }
  LlamaConfig unused;
  unused.rope.original_max_position = 3;
  unused.max_positions = 3;
  EXPECT_EQ(HashOf(TrainConfig(), unused), HashOf(TrainConfig()));
}

TEST(TrainConfig, ScriptIsPartOfTheMaths) {
  const std::string script = R"(train { steps: 3 } policy { name: scripted phase { steps: 2
      entry { tensor: "a" row_end: 64 } entry { tensor: "b" } } phase { entry { tensor: "a" } } })";
  const TrainConfig config = Parse(kSmall + script);
  ASSERT_EQ(config.script.size(), 2u);
  EXPECT_EQ(config.script[0].steps, 2);
  EXPECT_EQ(config.script[0].entries[0].rows, (Range{0, 64}));
  TrainConfig other = config;
  other.script[1].entries[0].tensor = "b";
  EXPECT_NE(HashOf(config), HashOf(other));

  TensorTable table{
      .tensors = {{.name = "a", .rows = 128, .cols = 4}, {.name = "b", .rows = 64, .cols = 4}}};
  const auto policy = ResolvePolicy(config, table);
  ASSERT_TRUE(policy.ok()) << policy.status().ToString();
  EXPECT_EQ(policy->script[0].set.entries[1].rows, (Range{0, 64}));
  EXPECT_EQ(policy->script[1].set.entries[0].rows, (Range{0, 128}));
  EXPECT_EQ(policy->total_steps, 3);
  table.tensors.pop_back();
  EXPECT_THAT(std::string(ResolvePolicy(config, table).status().message()), HasSubstr("tensor b"));
}

TEST(TrainConfig, AllErrorsOfAScriptAtOnceWithTheirLocations) {
  const std::string fields = ErrorOf(std::string(kSmall) + R"(policy { name: scripted
  phase { steps: 0 entry { tensor: "a" } }
  phase { steps: 5
    entry { row_end: 64 }
    entry { tensor: "a" lr_scale: -1 } }
  phase { }
})");
  EXPECT_THAT(fields, HasSubstr("run.txt:3:11: policy.phase[0].steps: expected >= 1, got 0"));
  EXPECT_THAT(
      fields,
      HasSubstr(
          "run.txt:5:11: policy.phase[1].entry[0].tensor: expected a tensor's name, got none"));
  EXPECT_THAT(fields,
              HasSubstr("run.txt:6:25: policy.phase[1].entry[1].lr_scale: expected > 0, got -1"));
  EXPECT_THAT(fields,
              HasSubstr("run.txt:7:9: policy.phase[2].entry: expected at least one, got none"));
  EXPECT_THAT(fields, HasSubstr("policy.phase: expected at least train.steps ("));
  EXPECT_THAT(fields, HasSubstr("7 errors"));  // and "a" twice, which the model has not

  const TrainConfig config = Parse(std::string(kSmall) + R"(policy { name: scripted
  phase { steps: 1000
    entry { tensor: "first" row_begin: 32 row_end: 128 }
    entry { tensor: "secnd" } }
  phase {
    entry { tensor: "second" row_end: 999 }
    entry { tensor: "first" row_end: 128 }
    entry { tensor: "first" row_begin: 64 } }
})");
  const TensorTable table{.tensors = {{.name = "first", .rows = 256, .cols = 4},
                                      {.name = "second", .rows = 64, .cols = 4}}};
  const std::string model(ResolvePolicy(config, table).status().message());
  EXPECT_THAT(model, HasSubstr("4 errors"));
  EXPECT_THAT(model, HasSubstr("run.txt:4:11: policy.phase[0].entry[0]: active set: first: "
                               "expected row bounds that are multiples of 64"));
  EXPECT_THAT(model, HasSubstr("run.txt:5:11: policy.phase[0].entry[1]: the model has no tensor "
                               "secnd, did you mean second?"));
  EXPECT_THAT(model,
              HasSubstr("run.txt:7:11: policy.phase[1].entry[0]: active set: second: expected a "));
  EXPECT_THAT(model, HasSubstr("run.txt:6:9: policy.phase[1]: active set: first rows [64, 256) "
                               "overlap"));
}

TEST(TrainConfig, PrintsWhatItReads) {
  const TrainConfig config = Parse(R"(
      # A comment.
      model { preset: "9m", vocab: 4096 }
      data { train: ["a.bin", "b" ".bin"]; val: "v.bin" order: file }
      train: { seed: 18446744073709551615 recompute: layer }
      optimizer { lr: 3e-4 schedule { shape: linear floor: 0 } })");
  EXPECT_EQ(config.model.vocab, 4096);
  EXPECT_THAT(config.data.train, testing::ElementsAre("a.bin", "b.bin"));
  EXPECT_EQ(config.data.order, SlotOrderKind::kFile);
  EXPECT_EQ(config.train.seed, UINT64_MAX);
  EXPECT_EQ(config.optimizer.lr, 3e-4);
  EXPECT_EQ(config.optimizer.schedule.shape, ScheduleShape::kLinear);
  const std::string printed = PrintTrainConfig(config);
  EXPECT_THAT(printed, HasSubstr("every_steps: 1"));  // a default, spelled out
  EXPECT_EQ(PrintTrainConfig(Parse(printed)), printed);
  EXPECT_EQ(HashOf(Parse(printed)), HashOf(config));
}

TEST(TrainConfig, AllErrorsAtOnceWithPlaceAndNearestName) {
  const std::string error = ErrorOf(R"(model { preset: "9m" }
train {
  step: 5
  seed: -1
  numerics: slotexact
}
data { order: "file" tokens: 0 train: 7 }
optimiser { lr: 1 }
batch { slots: 2 slots: 3 }
)");
  EXPECT_THAT(error, HasSubstr("run.txt:3:3: train.step: unknown field, did you mean steps?"));
  EXPECT_THAT(error,
              HasSubstr("run.txt:4:9: train.seed: expected a non-negative 64-bit integer, got -1"));
  EXPECT_THAT(error, HasSubstr("run.txt:5:13: train.numerics: expected fast or "
                               "slot_exact, got slotexact, did you mean slot_exact?"));
  EXPECT_THAT(error,
              HasSubstr("run.txt:7:15: data.order: expected shuffled or file, got \"file\""));
  EXPECT_THAT(error, HasSubstr("run.txt:7:22: data.tokens: expected >= 1, got 0"));
  EXPECT_THAT(error, HasSubstr("data.train: expected a string in quotes, got 7"));
  EXPECT_THAT(error, HasSubstr("run.txt:8:1: optimiser: unknown field, did you mean optimizer?"));
  EXPECT_THAT(error, HasSubstr("run.txt:9:18: batch.slots: given more than once"));
  EXPECT_THAT(error, HasSubstr("8 errors"));
}

TEST(TrainConfig, MasksOfElementsAreRefusedByName) {
  EXPECT_EQ(Parse(kSmall, {"policy.probe_scope=all"}).policy.probe_scope, ProbeScope::kAll);
  EXPECT_THAT(
      ErrorOf(kSmall, {"policy.mask=literal"}),
      HasSubstr("policy.mask: expected none (this build selects whole tensors), got literal"));
}

// The limits are the policy's own (optim/policy/validate.h); the reader adds the place and the name
// that the field has in the configuration.
TEST(TrainConfig, APolicysLimitsAreReportedWithTheirLocations) {
  const std::string error = ErrorOf(std::string(kSmall) + R"(policy { name: blockllm
  patience: 0
  sparsity: 1
  embedding_split: 2 }
coordinator { lag: 3000000000 }
)");
  EXPECT_THAT(error, HasSubstr("run.txt:3:3: policy.patience: expected >= 1, got 0"));
  EXPECT_THAT(error, HasSubstr("run.txt:4:3: policy.sparsity: expected a value in [0, 1), got 1"));
  EXPECT_THAT(error, HasSubstr("run.txt:5:3: policy.embedding_split: expected 1 (policy blockllm"));
  EXPECT_THAT(error,
              HasSubstr("run.txt:6:15: coordinator.lag: expected 0 to 1000000, got 3000000000"));
  EXPECT_THAT(error, HasSubstr("4 errors"));
  EXPECT_THAT(ErrorOf(kSmall, {"policy.embedding=frozen"}),
              HasSubstr("policy.embedding: expected always or as_blocks (policy full"));
}

TEST(TrainConfig, BrokenSyntaxIsAnErrorNotAHang) {
  for (const char* text : {"train {", "train { steps: }", "}", "train steps: 1", "data { train: [",
                           "data { train: [\"a\" \"b\", ", "train: 5", "train { steps { } }",
                           "\x01\x02 {{{{", "model { preset: \"9m }", "batch { slots: [1, 2] }"}) {
    EXPECT_FALSE(ParseTrainConfig(text, "run.txt").ok()) << text;
  }
  EXPECT_THAT(ErrorOf("train {\n steps: 3"),
              HasSubstr("run.txt:1:7: train: this '{' is not closed"));
}

TEST(TrainConfig, SetOverridesTheFile) {
  const TrainConfig config =
      Parse(std::string(kSmall) + "train { steps: 5 } data { train: \"x\" }",
            {"train.steps=7", "data.train=a.bin,b.bin", "policy.name=badam"});
  EXPECT_EQ(config.train.steps, 7);
  EXPECT_THAT(config.data.train, testing::ElementsAre("a.bin", "b.bin"));
  EXPECT_EQ(config.policy.name, "badam");
  // A list may come in pieces: the file's is replaced once.
  const TrainConfig pieces = Parse(std::string(kSmall) + "data { train: \"x\" val: \"y\" }",
                                   {"data.train=a.bin", "train.steps=7", "data.train=b.bin,c.bin"});
  EXPECT_THAT(pieces.data.train, testing::ElementsAre("a.bin", "b.bin", "c.bin"));
  EXPECT_THAT(pieces.data.val, testing::ElementsAre("y"));
  EXPECT_THAT(Parse(kSmall, {"data.train=a.bin", "data.train="}).data.train,
              testing::ElementsAre("a.bin"));
  const std::string error = ErrorOf(
      kSmall, {"train.steps", "train.stesp=1", "train=1", "train.steps.x=1", "batch.slots=0"});
  EXPECT_THAT(error, HasSubstr("--set train.steps: expected field=value, got no '='"));
  EXPECT_THAT(error,
              HasSubstr("--set train.stesp=1: train.stesp: unknown field, did you mean steps?"));
  EXPECT_THAT(error, HasSubstr("--set train=1: train: expected fields in braces, got 1"));
  EXPECT_THAT(error, HasSubstr("--set train.steps.x=1: train.steps: has no fields"));
  EXPECT_THAT(error, HasSubstr("--set batch.slots=0: batch.slots: expected >= 1, got 0"));
}

TEST(TrainConfig, WorksWithoutAFile) {
  const auto config = LoadTrainConfig("", {"model.preset=9m", "train.steps=3"});
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  EXPECT_EQ(config->train.steps, 3);
  EXPECT_EQ(LoadTrainConfig("/nonexistent/run.txt").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(LoadTrainConfig("/tmp").status().code(), absl::StatusCode::kDataLoss);
}

TEST(TrainConfig, SlotExactFillsAndRefuses) {
  const TrainConfig config = Parse(kSmall, {"train.numerics=slot_exact"});
  EXPECT_EQ(config.batch.micro_slots, 1);
  EXPECT_EQ(config.train.accumulate, AccumulateChoice::kLocal);
  const std::string error = ErrorOf(
      kSmall, {"train.numerics=slot_exact", "batch.micro_slots=2", "train.accumulate=sharded"});
  EXPECT_THAT(error,
              HasSubstr("batch.micro_slots: expected 1 with train.numerics slot_exact, got 2"));
  EXPECT_THAT(
      error,
      HasSubstr("train.accumulate: expected local with train.numerics slot_exact, got sharded"));
}

TEST(TrainConfig, Contradictions) {
  const struct {
    std::vector<std::string> set;
    const char* message;
  } cases[] = {
      {{"train.precision=bf16"},
       "train.precision: expected fp32 (this build has no bf16), got bf16"},
      {{"runtime.backend=opencl"},
       "runtime.backend: expected one of cpu, null, guarded, cuda, got opencl"},
      {{"train.steps=0"}, "train.steps: expected >= 1, got 0"},
      {{"optimizer.lr=0"}, "optimizer.lr: expected > 0, got 0"},
      {{"optimizer.lr=nan"}, "optimizer.lr: expected a finite number, got nan"},
      {{"optimizer.beta2=1"}, "optimizer.beta2: expected a value in [0, 1), got 1"},
      {{"batch.micro_slots=9"}, "batch.micro_slots: expected <= batch.slots (8), got 9"},
      {{"model.path=folder"}, "expected only one of model.path, model.config, model.preset, got 2"},
      {{"model.preset="},
       "model: expected one of model.path, model.config, model.preset, got none"},
      {{"policy.name=scripted"},
       "policy.phase: expected at least one with policy.name scripted, got 0"},
      {{"coordinator.tls_ca=ca.pem"},
       "coordinator.tls_ca: expected all of tls_ca, tls_cert and tls_key, or none, got 1"},
      {{"coordinator.address=host"}, "coordinator.address: expected host:port"},
      {{"runtime.local_ranks=2"}, "runtime.local_ranks: expected 1 with transport mpi"},
      {{"placement.pin_budget_bytes=5"},
       "placement.pin_budget_bytes: expected 0 without placement.mode budget, got 5"},
      {{"eval.every_steps=5"}, "eval.every_steps: expected 0 without data.val, got 5"},
      {{"optimizer.schedule.warmup_steps=1001"}, "expected 0 to train.steps (1000), got 1001"},
      {{"optimizer.schedule.floor=1.5"},
       "optimizer.schedule.floor: expected 0 to 1 (a share of lr), got 1.5"},
      {{"optimizer.lr=-1"}, "optimizer.lr: expected > 0, got -1"},
  };
  for (const auto& c : cases) EXPECT_THAT(ErrorOf(kSmall, c.set), HasSubstr(c.message));
}

}  // namespace
}  // namespace blockstep
