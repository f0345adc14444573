// Files besides data and weights that a run reads or writes.
#pragma once

#include <string>
#include <vector>

#include "launcher/config/train_config.h"

namespace blockstep {

// Tokenizer files travel with checkpoints, so that a checkpoint is a whole Hugging Face folder.
// `path` is one of them, or a folder with some of them.
std::vector<std::string> TokenizerFiles(const std::string& path);

// What is read or written only later, when an error would cost the run. `tokenizer`: asked for by
// name; empty: it was not.
absl::Status CheckRunFiles(const TrainConfig& config, const std::string& tokenizer);

}  // namespace blockstep
