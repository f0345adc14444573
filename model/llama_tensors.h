// Where each parameter of a Llama stands in its TensorTable.
#pragma once

#include "model/llama_config.h"

namespace blockstep {

// Tensors of a decoder layer, in Hugging Face's order.
enum LayerTensor {
  kQ,      // (H*D, C)
  kK,      // (G*D, C)
  kV,      // (G*D, C)
  kO,      // (C, H*D)
  kGate,   // (I, C)
  kUp,     // (I, C)
  kDown,   // (C, I)
  kNorm1,  // (C), before attention
  kNorm2,  // (C), before the MLP
  kLayerTensors
};

inline constexpr int kEmbeddingTensor = 0;  // (V, C)
constexpr int LayerTensorIndex(int64_t layer, LayerTensor which) {
  return 1 + static_cast<int>(layer) * kLayerTensors + which;
}
constexpr int FinalNormTensor(int64_t layers) { return LayerTensorIndex(layers, kQ); }
// (V, C); tied: the embedding's.
constexpr int HeadTensor(int64_t layers, bool tied) {
  return tied ? kEmbeddingTensor : FinalNormTensor(layers) + 1;
}

constexpr int LayerUnit(int64_t layer) { return 1 + static_cast<int>(layer); }
constexpr int HeadUnit(int64_t layers) { return LayerUnit(layers); }

}  // namespace blockstep
