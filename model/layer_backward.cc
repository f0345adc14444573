// From the layer's output down to its cut. Each op: weight gradients first, so that their reduction
// overlaps what follows, then the gradient of its input if anything below needs it.
#include "core/base/status.h"
#include "model/micro_step.h"

namespace blockstep {
namespace {

// For an input that the wanted gradients do not read; kernels still check its shape.
const TensorView& Any(const TensorView& saved, const TensorView& of_same_shape) {
  return saved.defined() ? saved : of_same_shape;
}
TensorView If(bool wanted, const TensorView& view) { return wanted ? view : TensorView{}; }

}  // namespace

absl::Status MicroStep::BackwardLayer(int64_t l, const LayerBuffers& saved) const {
  const LayerPlan& p = plan.layers[l];
  const KernelTable& k = kernels();
  const TensorView d_out = empty() ? TensorView{} : phase.d_residual.Rows(0, n);
  const auto weight_gradients = [&](LayerTensor which, const TensorView& dy, const TensorView& x) {
    return MatrixGradients(p.entries, LayerTensorIndex(l, which), dy, x);
  };
  const auto input_gradient = [&](bool wanted, LayerTensor which, const TensorView& dy,
                                  const TensorView& dx, Accumulate accumulate) {
    if (wanted && !empty()) LinearInputGradient(dy, Weight(l, which), dx, accumulate);
  };

  // MLP
  RETURN_IF_ERROR(weight_gradients(kDown, d_out, saved.swiglu));
  input_gradient(p.d_swiglu, kDown, d_out, scratch.gate, Accumulate::kAssign);
  if (p.d_swiglu && !empty()) {
    k.swiglu_backward(stream, {.gate = saved.gate,
                               .up = Any(saved.up, saved.gate),
                               .dout = scratch.gate,
                               .dgate = If(p.d_gate, scratch.gate),
                               .dup = If(p.d_up, scratch.up)});
  }
  RETURN_IF_ERROR(weight_gradients(kGate, scratch.gate, saved.norm2));
  RETURN_IF_ERROR(weight_gradients(kUp, scratch.up, saved.norm2));
  input_gradient(p.d_norm2, kGate, scratch.gate, scratch.norm, Accumulate::kAssign);
  input_gradient(p.d_norm2, kUp, scratch.up, scratch.norm, Accumulate::kAdd);
  if (p.d_norm2) {
    RETURN_IF_ERROR(NormGradients(p.entries, {.tensor = LayerTensorIndex(l, kNorm2),
                                              .dy = scratch.norm,
                                              .s = saved.mid,
                                              .rstd = saved.rstd2,
                                              .dx = If(p.d_mid, d_out),
                                              .dx_accumulate = Accumulate::kAdd}));
  }

  // Attention; d_out is now the gradient of the stream between attention and MLP.
  RETURN_IF_ERROR(weight_gradients(kO, d_out, saved.attn));
  input_gradient(p.d_attn, kO, d_out, scratch.attn, Accumulate::kAssign);
  if (p.d_attn && !empty()) {
    k.attention_backward(stream, {.shape = AttentionShapeOf(config, batch.slots, tokens),
                                  .q = saved.q,
                                  .k = saved.k,
                                  .v = Any(saved.v, saved.k),
                                  .out = Any(saved.attn, saved.q),
                                  .dout = scratch.attn,
                                  .dq = If(p.d_q, scratch.q),
                                  .dk = If(p.d_k, scratch.k),
                                  .dv = If(p.d_v, scratch.v),
                                  .stats = saved.stats,
                                  .scale = AttentionScale(),
                                  .first_key = batch.first_key,
                                  .scratch = scratch.attention});
    if (p.d_q) Rotate(scratch.q, config.heads, RopeDirection::kBackward);
    if (p.d_k) Rotate(scratch.k, config.kv_heads, RopeDirection::kBackward);
  }
  RETURN_IF_ERROR(weight_gradients(kQ, scratch.q, saved.norm1));
  RETURN_IF_ERROR(weight_gradients(kK, scratch.k, saved.norm1));
  RETURN_IF_ERROR(weight_gradients(kV, scratch.v, saved.norm1));
  input_gradient(p.d_norm1, kQ, scratch.q, scratch.norm, Accumulate::kAssign);
  input_gradient(p.d_norm1, kK, scratch.k, scratch.norm, Accumulate::kAdd);
  input_gradient(p.d_norm1, kV, scratch.v, scratch.norm, Accumulate::kAdd);
  if (!p.d_norm1) return absl::OkStatus();
  return NormGradients(p.entries, {.tensor = LayerTensorIndex(l, kNorm1),
                                   .dy = scratch.norm,
                                   .s = saved.input,
                                   .rstd = saved.rstd1,
                                   .dx = If(p.d_input, d_out),
                                   .dx_accumulate = Accumulate::kAdd});
}

}  // namespace blockstep
