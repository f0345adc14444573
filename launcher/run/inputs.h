// What a run reads. Data and weights are said by sampled digests (core/data/file_digest.h): moving
// a file changes nothing here, replacing it does. Full digests are taken later, beside training
// (launcher/train/input_digests.h). Of other files: that they are there and can be written.
#pragma once

#include <string>
#include <vector>

#include "launcher/config/train_config.h"
#include "launcher/train/input_digests.h"

namespace blockstep {

struct Inputs {
  // Lines of what changes the result: "data.train[0]: 1003544 tokens, sampled sha256 5f3a..." and
  // "model.weights: fresh" or "2 files, sampled sha256 ...".
  std::string maths;
  std::string shown;             // the same of data.val
  std::vector<InputFile> files;  // all of them
};

// Opens each file that the configuration names. Errors are those of the files.
absl::StatusOr<Inputs> ReadInputs(const TrainConfig& config, const LlamaConfig& model);

// The maths of a run as its folder keeps them: the model, every field, every input; a line each.
std::string RunMathsText(const TrainConfig& config, const LlamaConfig& model, const Inputs& inputs);

// Of a checkpoint that is about to be loaded: its config.json is the run's model. DATA_LOSS names
// the first field in which they differ. `maths_changed`: the run accepted a change since it was
// saved; then only what decides about tensors and heads has to be equal.
absl::Status CheckCheckpointModel(const std::string& checkpoint, const LlamaConfig& model,
                                  bool maths_changed);

// Tokenizer files travel with checkpoints, so that a checkpoint is a whole Hugging Face folder.
// `path` is one of them, or a folder with some of them.
std::vector<std::string> TokenizerFiles(const std::string& path);

// What is read or written only later, when an error would cost the run. `tokenizer`: asked for by
// name; empty: it was not.
absl::Status CheckRunFiles(const TrainConfig& config, const std::string& tokenizer);

}  // namespace blockstep
