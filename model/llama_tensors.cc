#include "model/llama_tensors.h"

#include "core/base/str.h"

namespace blockstep {
namespace {

class Builder {
 public:
  void Unit(std::string name, UnitKind kind, int layer = -1) {
    table_.units.push_back({.name = std::move(name), .kind = kind, .layer = layer});
  }
  void Matrix(std::string name, int64_t rows, int64_t cols) {
    Add({.name = std::move(name), .rows = rows, .cols = cols});
  }
  void Norm(std::string name, int64_t size) {
    Add({.name = std::move(name),
         .rows = size,
         .cols = 1,
         .vector = true,
         .decay = false,
         .init = InitKind::kOnes});
  }
  TensorTable Take(bool tied) {
    table_.tied = tied;
    return std::move(table_);
  }

 private:
  void Add(TensorInfo tensor) {
    tensor.unit = static_cast<int>(table_.units.size()) - 1;
    table_.units.back().tensors.push_back(static_cast<int>(table_.tensors.size()));
    table_.tensors.push_back(std::move(tensor));
  }
  TensorTable table_;
};

}  // namespace

TensorTable LlamaTensors(const LlamaConfig& c) {
  Builder b;
  b.Unit("embedding", UnitKind::kEmbedding);
  b.Matrix("model.embed_tokens.weight", c.vocab, c.hidden);
  for (int l = 0; l < c.layers; ++l) {
    const std::string layer = Cat("model.layers.", l, ".");
    b.Unit(Cat("layer ", l), UnitKind::kLayer, l);
    b.Matrix(layer + "self_attn.q_proj.weight", c.heads * c.head_dim, c.hidden);
    b.Matrix(layer + "self_attn.k_proj.weight", c.kv_heads * c.head_dim, c.hidden);
    b.Matrix(layer + "self_attn.v_proj.weight", c.kv_heads * c.head_dim, c.hidden);
    b.Matrix(layer + "self_attn.o_proj.weight", c.hidden, c.heads * c.head_dim);
    b.Matrix(layer + "mlp.gate_proj.weight", c.intermediate, c.hidden);
    b.Matrix(layer + "mlp.up_proj.weight", c.intermediate, c.hidden);
    b.Matrix(layer + "mlp.down_proj.weight", c.hidden, c.intermediate);
    b.Norm(layer + "input_layernorm.weight", c.hidden);
    b.Norm(layer + "post_attention_layernorm.weight", c.hidden);
  }
  b.Unit("head", UnitKind::kHead);
  b.Norm("model.norm.weight", c.hidden);
  if (!c.tied) b.Matrix("lm_head.weight", c.vocab, c.hidden);
  return b.Take(c.tied);
}

int64_t LlamaConfig::parameters() const { return LlamaTensors(*this).parameters(); }

}  // namespace blockstep
