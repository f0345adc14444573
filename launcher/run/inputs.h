// What a run reads, said by content: moving a file changes nothing here, replacing it does.
#pragma once

#include <string>

#include "launcher/config/train_config.h"

namespace blockstep {

struct Inputs {
  // Lines of what changes the result: "data.train[0]: 1003544 tokens, sha256 5f3a..." and
  // "model.weights: fresh, or 2 files, sha256 ...". Digests are sampled (core/data/file_digest.h).
  std::string maths;
  std::string shown;  // the same of data.val
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

}  // namespace blockstep
