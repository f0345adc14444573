// One micro-step of a Llama in flight: what every part of forward and backward works with. Parts:
// layer_forward.cc, layer_backward.cc, head.cc; their order is in llama.cc.
#pragma once

#include "model/llama_buffers.h"
#include "model/llama_tensors.h"

namespace blockstep {

// The residual stream between ops: x + delta, not yet added where delta is defined.
struct Residual {
  TensorView x;      // (n, C)
  TensorView delta;  // (n, C) or undefined
};

enum class HeadMode : uint8_t { kTrain, kLoss, kLogits };

class MicroStep {
 public:
  const LlamaConfig& config;
  const LlamaOptions& options;
  const TensorTable& table;
  const SavePlan& plan;
  const ActiveSet& set;
  const RunBuffers& run;
  const PhaseBuffers& phase;
  const MicroBatch& batch;
  int64_t tokens = 0;  // T
  UnitSource& units;
  Stream& stream;
  GradSink* sink = nullptr;  // backward only
  float grad_scale = 1;
  // Of the first n = slots * T rows.
  int64_t n = 0;
  Scratch scratch = {};

  const KernelTable& kernels() const { return *options.backend->kernels; }
  bool empty() const { return n == 0; }
  // Between Acquire and Release of the unit.
  TensorView Weight(int64_t layer, LayerTensor which) const {
    return units.Weight(LayerTensorIndex(layer, which));
  }
  TensorView NormWeight(int tensor) const;  // (1, C)

  // layer_forward.cc: runs `ops` of layer `l`, keeping what `keep` has buffers for.
  void ForwardLayer(int64_t l, const LayerOps& ops, const LayerBuffers& keep,
                    Residual& residual) const;

  // layer_backward.cc: phase.d_residual holds the gradient of the layer's output, and afterwards,
  // if d_input, that of its input. `saved` is what forward or the rerun kept.
  absl::Status BackwardLayer(int64_t l, const LayerBuffers& saved) const;

  // head.cc: final norm, logits and loss in chunks. kTrain: also their gradients down to
  // phase.d_residual. Embedding targets of a tied head stay open in `tied_targets`.
  absl::Status Head(HeadMode mode, const Residual& residual, float* loss, TensorView logits,
                    std::vector<GradTarget>* tied_targets) const;
  absl::Status EmbeddingGradients(const std::vector<GradTarget>& tied_targets) const;

  // gradients.cc: y = x W^T;  dx (+)= dy W;  both on the stream.
  void Linear(const TensorView& x, const TensorView& w, const TensorView& y) const;
  void LinearInputGradient(const TensorView& dy, const TensorView& w, const TensorView& dx,
                           Accumulate accumulate) const;
  // Rows of dW = dy^T x.
  void LinearWeightGradient(const TensorView& dy, const TensorView& x, Range rows,
                            const TensorView& dw, Accumulate accumulate) const;
  // Every active entry of `tensor` among `entries`: target, gradient, done.
  absl::Status MatrixGradients(const std::vector<int>& entries, int tensor, const TensorView& dy,
                               const TensorView& x) const;
  struct NormGradientArgs {
    int tensor = 0;
    TensorView dy, s, rstd;
    TensorView dx;  // undefined: not needed
    Accumulate dx_accumulate = Accumulate::kAssign;
  };
  absl::Status NormGradients(const std::vector<int>& entries, const NormGradientArgs& args) const;
  float AttentionScale() const;  // 1 / sqrt(D)
  void Rotate(const TensorView& x, int64_t heads, RopeDirection direction) const;
};

}  // namespace blockstep
