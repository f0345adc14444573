#include "launcher/run/inputs.h"

#include <unistd.h>

#include <filesystem>

#include "core/base/sha256.h"
#include "core/base/status.h"
#include "core/data/file_digest.h"
#include "core/data/safetensors.h"
#include "core/data/token_file.h"
#include "launcher/config/model_text.h"

namespace blockstep {
namespace {

absl::StatusOr<std::string> TokenLines(const std::string& field,
                                       const std::vector<std::string>& paths,
                                       const LlamaConfig& model, std::vector<InputFile>& files) {
  std::string text;
  for (size_t i = 0; i < paths.size(); ++i) {
    ASSIGN_OR_RETURN(const TokenFile file,
                     TokenFile::Open({.path = paths[i], .vocab_size = model.vocab}));
    ASSIGN_OR_RETURN(const std::string digest, SampledSha256(paths[i]));
    files.push_back({Cat(field, "[", i, "]"), paths[i], digest});
    text += Cat(field, "[", i, "]: ", file.tokens(), " tokens, sampled sha256 ", digest, "\n");
  }
  return text;
}

absl::StatusOr<std::string> WeightsLine(const std::string& folder, std::vector<InputFile>& inputs) {
  if (folder.empty()) return std::string("model.weights: fresh\n");
  ASSIGN_OR_RETURN(const SafetensorsFolder weights, SafetensorsFolder::Open(folder));
  const std::vector<std::string> files = weights.Files();
  Sha256 all;
  for (const std::string& file : files) {
    ASSIGN_OR_RETURN(const std::string digest, SampledSha256(file));
    all.Update(digest);
    inputs.push_back(
        {Cat("model.path/", std::filesystem::path(file).filename().string()), file, digest});
  }
  return Cat("model.weights: ", files.size(), files.size() == 1 ? " file" : " files",
             ", sampled sha256 ", all.Hex(), "\n");
}

}  // namespace

absl::StatusOr<Inputs> ReadInputs(const TrainConfig& config, const LlamaConfig& model) {
  Inputs inputs;
  ASSIGN_OR_RETURN(inputs.maths, WeightsLine(config.model.path, inputs.files));
  ASSIGN_OR_RETURN(const std::string train,
                   TokenLines("data.train", config.data.train, model, inputs.files));
  inputs.maths += train;
  ASSIGN_OR_RETURN(inputs.shown, TokenLines("data.val", config.data.val, model, inputs.files));
  return inputs;
}

std::string RunMathsText(const TrainConfig& config, const LlamaConfig& model,
                         const Inputs& inputs) {
  return ModelText(model) + inputs.maths + MathsText(config);
}

absl::Status CheckCheckpointModel(const std::string& checkpoint, const LlamaConfig& model,
                                  bool maths_changed) {
  ASSIGN_OR_RETURN(const LlamaConfig saved, LoadLlamaConfig(checkpoint));
  const std::vector<ModelField> wanted = ModelFields(model), found = ModelFields(saved);
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (maths_changed && !wanted[i].structure) continue;
    const bool there = i < found.size() && found[i].name == wanted[i].name;
    if (there && found[i].value == wanted[i].value) continue;
    return DataLoss("checkpoint ", checkpoint, ": model mismatch: ", wanted[i].name, ": expected ",
                    wanted[i].value, ", got ", there ? found[i].value : "nothing");
  }
  return absl::OkStatus();
}

namespace fs = std::filesystem;

std::vector<std::string> TokenizerFiles(const std::string& path) {
  if (path.empty()) return {};
  if (!fs::is_directory(path)) return {path};
  std::vector<std::string> files;
  for (const char* name : {"tokenizer.model", "tokenizer.json", "tokenizer_config.json",
                           "special_tokens_map.json", "generation_config.json"}) {
    if (fs::exists(fs::path(path) / name)) files.push_back(fs::path(path) / name);
  }
  return files;
}

absl::Status CheckRunFiles(const TrainConfig& config, const std::string& tokenizer) {
  if (config.data.train.empty() && config.runtime.backend != BackendKind::kNull) {
    return InvalidArgument("data.train: expected at least one token file, got none");
  }
  if (!tokenizer.empty() && !fs::exists(tokenizer)) {
    return NotFound("--tokenizer ", tokenizer,
                    ": does not exist; expected a tokenizer file or folder");
  }
  if (!tokenizer.empty() && TokenizerFiles(tokenizer).empty()) {
    return NotFound("--tokenizer ", tokenizer,
                    ": expected tokenizer.model or tokenizer.json, got neither");
  }
  if (config.runtime.trace.empty()) return absl::OkStatus();
  const std::string folder = fs::absolute(config.runtime.trace).parent_path().string();
  if (access(folder.c_str(), W_OK) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, Cat("runtime.trace ", config.runtime.trace, ": not writable"));
}

}  // namespace blockstep
