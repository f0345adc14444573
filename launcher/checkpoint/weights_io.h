// Weights in and out in Hugging Face's layout.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "launcher/checkpoint/checkpoint.h"

namespace blockstep {

// Owned rows from model.safetensors or the sharded files that model.safetensors.index.json names;
// F32, BF16 and F16 are converted to the views' dtype (F32 -> BF16 rounds to nearest even). A
// missing or unexpected tensor or another shape is an error by name; a tied model's lm_head.weight
// is ignored. Reads own rows only. Collective only in its status.
absl::Status LoadHuggingFaceWeights(const std::string& folder, const OwnedWeights& weights,
                                    Communicator* group);

// For people, where a folder of tied weights holds a lm_head.weight that differs from the
// embedding's (or cannot be compared with it): the model's configuration wins and it is not read.
// Else empty.
std::string UnreadHead(const std::string& folder, const TensorTable& table);

// A checkpoint without its state: config.json, tokenizer files, weights and index into the new
// folder `to`, hashes verified. Refuses a folder that exists and is not empty.
absl::Status ExportWeights(const std::string& checkpoint, const std::string& to);

}  // namespace blockstep
