// A model as text lines, for hashes and for people who look for the difference between two.
#pragma once

#include <string>
#include <vector>

#include "model/llama_config.h"

namespace blockstep {

struct ModelField {
  std::string name;  // of config.json: "rope_theta"
  std::string value;
  bool structure = false;  // says which tensors there are and how they are split into heads
};

// Every field that changes what the model computes or how fresh weights are drawn, in a fixed
// order. Not bos_token_id and max_position_embeddings: they only bound what may be asked.
std::vector<ModelField> ModelFields(const LlamaConfig& model);

// "model.rope_theta: 500000" a line.
std::string ModelText(const LlamaConfig& model);

}  // namespace blockstep
