#include "model/save_plan.h"

#include "core/base/check.h"
#include "model/llama_tensors.h"

namespace blockstep {
namespace {

// Which of a layer's tensors have any active row.
struct LayerActive {
  bool w[kLayerTensors] = {};
  bool any() const {
    for (bool active : w) {
      if (active) return true;
    }
    return false;
  }
};

// Needs run against the direction of gradients: from the layer's input up to its output.
void PlanGradients(const LayerActive& a, bool below, LayerPlan& p) {
  p.d_input = below;
  p.d_norm1 = p.d_input || a.w[kNorm1];
  p.d_q = p.d_norm1 || a.w[kQ];
  p.d_k = p.d_norm1 || a.w[kK];
  p.d_v = p.d_norm1 || a.w[kV];
  p.d_attn = p.d_q || p.d_k || p.d_v;
  p.d_mid = p.d_attn || a.w[kO];
  p.d_norm2 = p.d_mid || a.w[kNorm2];
  p.d_gate = p.d_norm2 || a.w[kGate];
  p.d_up = p.d_norm2 || a.w[kUp];
  p.d_swiglu = p.d_gate || p.d_up;
  p.backward = p.d_swiglu || a.w[kDown];
}

// What those gradients read.
void PlanSaves(const LayerActive& a, LayerPlan& p) {
  p.save_input = p.save_rstd1 = p.d_norm1;
  p.save_norm1 = a.w[kQ] || a.w[kK] || a.w[kV];
  // dV = P^T dO wants the probabilities (q, k, stats); dQ and dK also want V and rowsum(dO * O).
  p.save_q = p.save_k = p.save_stats = p.d_attn;
  p.save_v = p.d_q || p.d_k;
  p.save_attn = p.d_q || p.d_k || a.w[kO];
  p.save_mid = p.save_rstd2 = p.d_norm2;
  p.save_norm2 = a.w[kGate] || a.w[kUp];
  // dUp = dOut * silu(gate); dGate also wants up.
  p.save_gate = p.d_swiglu;
  p.save_up = p.d_gate;
  p.save_swiglu = a.w[kDown];
}

LayerOps PlanRerun(const LayerPlan& p) {
  LayerOps r;
  r.swiglu = p.save_swiglu;
  r.gate = r.swiglu || p.save_gate;
  r.up = r.swiglu || p.save_up;
  r.norm2 = r.gate || r.up || p.save_norm2 || p.save_mid;
  r.o = r.norm2;
  r.attention = r.o || p.save_attn || p.save_stats;
  r.q = r.attention || p.save_q;
  r.k = r.attention || p.save_k;
  r.v = r.attention || p.save_v;
  r.norm1 = r.q || r.k || r.v || p.save_norm1 || p.save_rstd1;
  return r;
}

}  // namespace

SavePlan MakeSavePlan(const ActiveSet& set, const TensorTable& table, Recompute recompute) {
  const int64_t layers = static_cast<int64_t>(table.units.size()) - 2;
  SavePlan plan;
  plan.layers.resize(layers);
  std::vector<LayerActive> active(layers);
  for (size_t i = 0; i < set.entries.size(); ++i) {
    const int tensor = set.entries[i].tensor, entry = static_cast<int>(i);
    CHECK_LT(static_cast<size_t>(tensor), table.tensors.size());
    if (tensor == HeadTensor(layers, table.tied)) plan.head_entries.push_back(entry);
    if (tensor == kEmbeddingTensor) plan.embedding_entries.push_back(entry);
    if (tensor == FinalNormTensor(layers)) plan.final_norm_entries.push_back(entry);
    const int layer = table.units[table.tensors[tensor].unit].layer;
    if (layer < 0) continue;
    active[layer].w[tensor - LayerTensorIndex(layer, kQ)] = true;
    plan.layers[layer].entries.push_back(entry);
  }
  plan.d_embedding = !plan.embedding_entries.empty();
  bool below = plan.d_embedding;
  for (int64_t l = 0; l < layers; ++l) {
    LayerPlan& p = plan.layers[l];
    PlanGradients(active[l], below, p);
    PlanSaves(active[l], p);
    p.recompute = p.backward && recompute == Recompute::kLayer;
    if (p.recompute) {
      p.rerun = PlanRerun(p);
      p.save_input = true;
    }
    p.backward_weights = p.d_swiglu || p.recompute;
    below = p.backward;
  }
  plan.d_final_input = below;
  plan.final_norm_dw = !plan.final_norm_entries.empty();
  plan.head_dw = !plan.head_entries.empty();
  plan.d_hidden = plan.d_final_input || plan.final_norm_dw;
  return plan;
}

}  // namespace blockstep
