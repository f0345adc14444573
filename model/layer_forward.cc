#include "model/micro_step.h"

namespace blockstep {
namespace {

const TensorView& Either(const TensorView& kept, const TensorView& scratch) {
  return kept.defined() ? kept : scratch;
}

}  // namespace

void MicroStep::ForwardLayer(int64_t l, const LayerOps& ops, const LayerBuffers& keep,
                             Residual& residual) const {
  if (empty()) return;
  const KernelTable& k = kernels();
  const TensorView norm1 = Either(keep.norm1, scratch.norm), q = Either(keep.q, scratch.q),
                   key = Either(keep.k, scratch.k), v = Either(keep.v, scratch.v),
                   attn = Either(keep.attn, scratch.attn), norm2 = Either(keep.norm2, scratch.norm),
                   gate = Either(keep.gate, scratch.gate), up = Either(keep.up, scratch.up),
                   swiglu = Either(keep.swiglu, scratch.gate);
  const float eps = static_cast<float>(config.rms_eps);
  // A norm stores the sum that becomes the residual stream: in its kept place, or in the scratch.
  const auto norm = [&](LayerTensor which, const TensorView& kept_sum, const TensorView& y,
                        const TensorView& rstd) {
    const TensorView sum = residual.delta.defined() ? Either(kept_sum, scratch.x) : TensorView{};
    k.rms_norm_forward(stream, {.x = residual.x,
                                .delta = residual.delta,
                                .sum = sum,
                                .weight = NormWeight(LayerTensorIndex(l, which)),
                                .y = y,
                                .rstd = rstd,
                                .eps = eps});
    if (sum.defined()) residual = {.x = sum};
  };

  if (ops.norm1) norm(kNorm1, keep.input, norm1, keep.rstd1);
  if (ops.q) {
    Linear(norm1, Weight(l, kQ), q);
    Rotate(q, config.heads, RopeDirection::kForward);
  }
  if (ops.k) {
    Linear(norm1, Weight(l, kK), key);
    Rotate(key, config.kv_heads, RopeDirection::kForward);
  }
  if (ops.v) Linear(norm1, Weight(l, kV), v);
  if (ops.attention) {
    k.attention_forward(stream, {.shape = AttentionShapeOf(config, batch.slots, tokens),
                                 .q = q,
                                 .k = key,
                                 .v = v,
                                 .out = attn,
                                 .stats = keep.stats,
                                 .scale = AttentionScale(),
                                 .first_key = batch.first_key,
                                 .scratch = scratch.attention});
  }
  if (ops.o) {
    Linear(attn, Weight(l, kO), scratch.delta);
    residual.delta = scratch.delta;
  }
  if (ops.norm2) norm(kNorm2, keep.mid, norm2, keep.rstd2);
  if (ops.gate) Linear(norm2, Weight(l, kGate), gate);
  if (ops.up) Linear(norm2, Weight(l, kUp), up);
  if (ops.swiglu) k.swiglu_forward(stream, {.gate = gate, .up = up, .out = swiglu});
  if (ops.down) {
    Linear(swiglu, Weight(l, kDown), scratch.delta);
    residual.delta = scratch.delta;
  }
}

}  // namespace blockstep
