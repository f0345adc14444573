// What a policy may select: the parts of a model, and BAdam's partition of it into blocks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/step/active_set.h"
#include "optim/policy/policy.h"

namespace blockstep {

enum class ModelPart : uint8_t { kEmbedding, kLayer, kHead, kFinalNorm };

// kHead is the LM head's own matrix; tied weights are kEmbedding.
ModelPart PartOf(const TensorTable& table, int tensor);

// How `tensor` is treated by a policy with embedding and final-norm options; a layer's is
// kAsBlocks.
TensorPolicy TensorPolicyOf(const PolicyConfig& config, const TensorTable& table, int tensor);

// Sorted as ActiveSet wants.
ActiveSet MakeSet(std::vector<ActiveEntry> entries);

// Whole tensors as train entries.
ActiveSet MakeSet(const TensorTable& table, const std::vector<int>& tensors);

struct BadamBlock {
  std::string label;  // "layer 3", "embedding rows [0, 4096)"
  ActiveSet set;      // the block and what always trains
};

// Blocks in file order: embedding (row splits on EntryRows), layers, head with the final norm. Tied
// weights have no head of their own: the final norm goes with the embedding's first block; where
// embedding and head are no blocks, it is a block of its own.
std::vector<BadamBlock> BadamBlocks(const PolicyConfig& config, const TensorTable& table);

}  // namespace blockstep
