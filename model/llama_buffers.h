// Where activations lie. n_max = B*T rows; a micro-step of fewer slots uses the first rows.
//   run:   RoPE tables; one set of scratch, shared by forward, backward and the loss chunk
//   phase: what SavePlan keeps, per layer; with recomputation one set for the layer being rerun
#pragma once

#include <vector>

#include "core/device/arena.h"
#include "core/ops/kernel_table.h"
#include "model/llama.h"

namespace blockstep {

// Activations of one layer that outlive its forward; undefined: not kept.
struct LayerBuffers {
  TensorView input;             // (n, C) residual stream before the layer
  TensorView rstd1;             // (1, n)
  TensorView norm1;             // (n, C)
  TensorView q;                 // (n, H*D) rotated
  TensorView k;                 // (n, G*D) rotated
  TensorView v;                 // (n, G*D)
  void* stats = nullptr;        // of attention, KernelTable::attention_stats_bytes
  TensorView attn;              // (n, H*D)
  TensorView mid;               // (n, C) residual stream between attention and MLP
  TensorView rstd2;             // (1, n)
  TensorView norm2;             // (n, C)
  TensorView gate, up, swiglu;  // (n, I)

  LayerBuffers First(int64_t n) const;  // of the first n tokens
};

// Forward writes here what is not kept. Backward uses the same buffers for the gradients of what
// their names say (gate also for swiglu's), since forward's contents are dead by then.
struct Scratch {
  TensorView x;         // (n, C) residual stream; from the final norm on: that norm's input
  TensorView norm;      // (n, C) a norm's output or its gradient; in the head: hidden states
  TensorView delta;     // (n, C) o's or down's output, not yet added to the residual stream
  TensorView q, attn;   // (n, H*D)
  TensorView k, v;      // (n, G*D)
  TensorView gate, up;  // (n, I)
  TensorView logits;    // (loss chunk, V): lies over delta .. up, which are dead in the head
  void* attention = nullptr;

  Scratch First(int64_t n) const;
};

struct RunBuffers {
  TensorView rope_cos, rope_sin;  // (T, D/2)
  Scratch scratch;
};
absl::StatusOr<RunBuffers> CarveRunBuffers(const LlamaConfig& config, const LlamaOptions& options,
                                           BatchShape shape, int threads, Arena& arena);

struct PhaseBuffers {
  std::vector<LayerBuffers> layers;  // kept from forward
  LayerBuffers rerun;                // kept while one layer is recomputed
  TensorView d_residual;             // (n, C) gradient of the residual stream
  TensorView final_rstd;             // (1, n)
};
absl::StatusOr<PhaseBuffers> CarvePhaseBuffers(const LlamaConfig& config,
                                               const LlamaOptions& options, const SavePlan& plan,
                                               BatchShape shape, Arena& arena);

AttentionShape AttentionShapeOf(const LlamaConfig& config, int64_t slots, int64_t tokens);

}  // namespace blockstep
