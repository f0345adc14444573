// What a step computes, keeps and differentiates: a pure function of (active set, recompute mode).
// All backward code reads it; nothing else decides. Ops of a layer, in forward order:
//   norm1, q|k|v, attention, o, norm2, gate|up, swiglu, down
// The cut is at an op, not at a layer: with o_proj of layer 3 the lowest active tensor, nothing of
// layer 3's attention is differentiated.
#pragma once

#include <cstdint>
#include <vector>

#include "core/step/active_set.h"
#include "model/llama_config.h"

namespace blockstep {

enum class Recompute : uint8_t {
  kNone,   // keep what backward reads
  kLayer,  // keep the layer's input; run its forward again in backward
};

// Ops of one pass over a layer's forward; false: nobody needs the result.
struct LayerOps {
  bool norm1 = false, q = false, k = false, v = false, attention = false, o = false, norm2 = false,
       gate = false, up = false, swiglu = false, down = false;
  static constexpr LayerOps All() {
    return {true, true, true, true, true, true, true, true, true, true, true};
  }
};

struct LayerPlan {
  // Backward reaches into this layer at all.
  bool backward = false;
  // Gradients with respect to activations (dX GEMMs and their like) that someone below needs.
  bool d_input = false;  // of the layer's input (residual stream)
  bool d_norm1 = false;  // of norm1's output: dX of q, k, v
  bool d_q = false, d_k = false, d_v = false;
  bool d_attn = false;   // of attention's output: dX of o
  bool d_mid = false;    // of the residual stream between attention and MLP
  bool d_norm2 = false;  // of norm2's output: dX of gate, up
  bool d_gate = false, d_up = false;
  bool d_swiglu = false;  // of swiglu's output: dX of down
  // Weight gradients: indices of all active entries of this layer's tensors, whole or row ranges.
  std::vector<int> entries;
  // Activations kept from forward for backward (kNone), or kept while the layer is recomputed
  // (kLayer).
  bool save_input = false, save_rstd1 = false, save_norm1 = false, save_q = false, save_k = false,
       save_v = false, save_stats = false, save_attn = false, save_mid = false, save_rstd2 = false,
       save_norm2 = false, save_gate = false, save_up = false, save_swiglu = false;
  bool recompute = false;
  LayerOps rerun;  // recompute: the ops that lead to what is saved
  // Backward reads weights of this unit (a dX GEMM, a norm, or recomputation): it is acquired
  // again.
  bool backward_weights = false;
};

struct SavePlan {
  std::vector<LayerPlan> layers;
  bool d_embedding = false;  // dW of the embedding: the cut is 0
  bool head_dw = false;      // dW of the LM head
  bool final_norm_dw = false;
  bool d_hidden = false;          // dX of the LM head
  bool d_final_input = false;     // dX of the final norm
  std::vector<int> head_entries;  // of the LM head's matrix; tied: the embedding's
  std::vector<int> final_norm_entries;
  std::vector<int> embedding_entries;  // tied: the same as head_entries

  bool backward() const { return head_dw || d_hidden; }
};

SavePlan MakeSavePlan(const ActiveSet& set, const TensorTable& table, Recompute recompute);

}  // namespace blockstep
