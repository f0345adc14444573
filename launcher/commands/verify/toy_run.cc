#include <filesystem>
#include <fstream>

#include "core/base/philox.h"
#include "core/base/status.h"
#include "core/data/token_writer.h"
#include "launcher/commands/verify/run_case.h"

namespace blockstep {
namespace {

constexpr int32_t kVocab = 512;

// 7 slots: no number of ranks above one divides them, so ragged ranks are part of the matrix.
constexpr const char* kSettings[] = {
    "data.tokens=16",           "batch.slots=7",       "optimizer.lr=0.01",
    "policy.block_steps=7",     "policy.sparsity=0.6", "policy.patience=5",
    "policy.probes_per_step=2", "runtime.threads=1",   "log.every_steps=100",
};

constexpr const char* kModel = R"({
  "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
  "hidden_size": 32, "intermediate_size": 80, "num_hidden_layers": 2,
  "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
  "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "tie_word_embeddings": false,
  "initializer_range": 0.02, "vocab_size": 512, "torch_dtype": "float32"
})";

}  // namespace

absl::StatusOr<std::vector<std::string>> MakeToyRun(const std::string& folder, int64_t steps) {
  const std::string model = folder + "/model.json", text = folder + "/text.bin";
  std::ofstream(model) << kModel;
  if (!std::filesystem::exists(model)) return ResourceExhausted("cannot write ", model);
  ASSIGN_OR_RETURN(TokenWriter writer, TokenWriter::Create({.path = text, .vocab_size = kVocab}));
  std::vector<int32_t> ids(16 * 1024);
  for (size_t i = 0; i < ids.size(); ++i) {
    const PhiloxBlock draw = Draw(1, RandomUse::kMadeUpText, 0, i);
    ids[i] = static_cast<int32_t>(std::min(draw[0] % kVocab, draw[1] % kVocab));
  }
  RETURN_IF_ERROR(writer.Append(ids));
  RETURN_IF_ERROR(writer.Finish());
  std::vector<std::string> args;
  // In a file, so that --set data.train replaces it.
  const std::string config = folder + "/run.txt";
  std::ofstream(config) << Cat("data { train: \"", text, "\" }\n");
  if (!std::filesystem::exists(config)) return ResourceExhausted("cannot write ", config);
  args = {"--config", config};
  for (const std::string& set : {"model.config=" + model, Cat("train.steps=", steps)}) {
    args.insert(args.end(), {"--set", set});
  }
  for (const char* set : kSettings) args.insert(args.end(), {"--set", set});
  return args;
}

}  // namespace blockstep
