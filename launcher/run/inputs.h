// The inputs of a run, identified by sampled digests (core/data/file_digest.h): moving a file
// changes nothing here, replacing it does. Full digests are computed later, during training
// (launcher/train/input_digests.h). Other files are checked to exist or to be writable.
#pragma once

#include <string>
#include <vector>

#include "launcher/config/train_config.h"
#include "launcher/train/input_digests.h"

namespace blockstep {

struct Inputs {
  // Inputs that change the result, a line each: "data.train[0]: 1003544 tokens, sampled sha256
  // 5f3a..." and "model.weights: fresh" or "2 files, sampled sha256 ...".
  std::string maths;
  std::string shown;             // the same of data.val
  std::vector<InputFile> files;  // all of them
};

// Opens each file that the configuration names. Errors are those of the files.
absl::StatusOr<Inputs> ReadInputs(const TrainConfig& config, const LlamaConfig& model);

// The maths text stored in the run folder: the model, every field and every input, a line each.
std::string RunMathsText(const TrainConfig& config, const LlamaConfig& model, const Inputs& inputs);

// Checks that a checkpoint's config.json matches the run's model before it is loaded. DATA_LOSS
// names the first field that differs. `maths_changed`: the run accepted a configuration change
// since the save; then only fields that determine tensors and heads must match.
absl::Status CheckCheckpointModel(const std::string& checkpoint, const LlamaConfig& model,
                                  bool maths_changed);

// Tokenizer files travel with checkpoints, so that a checkpoint is a whole Hugging Face folder.
// `path` is one of them, or a folder with some of them.
std::vector<std::string> TokenizerFiles(const std::string& path);

// Checks now what the run reads or writes only later. `tokenizer` is the value of --tokenizer;
// empty if not given.
absl::Status CheckRunFiles(const TrainConfig& config, const std::string& tokenizer);

}  // namespace blockstep
