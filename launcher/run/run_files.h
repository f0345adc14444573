// Files besides data and weights that a run reads or writes.
#pragma once

#include <string>
#include <vector>

#include "launcher/config/train_config.h"

namespace blockstep {

// Tokenizer files travel with checkpoints, so that a checkpoint is a whole Hugging Face folder.
// `path` is one of them, or a folder with some of them.
std::vector<std::string> TokenizerFiles(const std::string& path);

// Checks now what the run reads or writes only later. `tokenizer` is the value of --tokenizer;
// empty if not given.
absl::Status CheckRunFiles(const TrainConfig& config, const std::string& tokenizer);

}  // namespace blockstep
