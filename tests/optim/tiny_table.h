// A Llama's tensor table by hand, so that these tests need no model.
#pragma once

#include "core/tensor/tensor_table.h"

namespace blockstep {

struct TinyShape {
  int64_t vocab = 256;
  int64_t hidden = 64;
  int64_t inner = 128;
  int layers = 3;
  bool tied = false;
};

inline TensorTable TinyTable(const TinyShape& shape = {}) {
  TensorTable table;
  table.tied = shape.tied;
  const auto unit = [&](std::string name, UnitKind kind, int layer) {
    table.units.push_back({.name = std::move(name), .kind = kind, .layer = layer});
  };
  const auto add = [&](std::string name, int64_t rows, int64_t cols) {
    table.units.back().tensors.push_back(static_cast<int>(table.tensors.size()));
    table.tensors.push_back({.name = std::move(name),
                             .rows = rows,
                             .cols = cols,
                             .unit = static_cast<int>(table.units.size()) - 1,
                             .vector = cols == 1,
                             .decay = cols != 1});
  };
  unit("embedding", UnitKind::kEmbedding, -1);
  add("model.embed_tokens.weight", shape.vocab, shape.hidden);
  for (int layer = 0; layer < shape.layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    unit("layer " + std::to_string(layer), UnitKind::kLayer, layer);
    for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"}) {
      add(prefix + "self_attn." + name + ".weight", shape.hidden, shape.hidden);
    }
    add(prefix + "mlp.gate_proj.weight", shape.inner, shape.hidden);
    add(prefix + "mlp.up_proj.weight", shape.inner, shape.hidden);
    add(prefix + "mlp.down_proj.weight", shape.hidden, shape.inner);
    add(prefix + "input_layernorm.weight", shape.hidden, 1);
    add(prefix + "post_attention_layernorm.weight", shape.hidden, 1);
  }
  unit("head", UnitKind::kHead, -1);
  add("model.norm.weight", shape.hidden, 1);
  if (!shape.tied) add("lm_head.weight", shape.vocab, shape.hidden);
  return table;
}

}  // namespace blockstep
