// A table of odd sizes: quanta of 8, 16 and 256 rows, more ranks than quanta in places.
#pragma once

#include <cstdint>
#include <string>

#include "core/tensor/tensor_table.h"

namespace blockstep {

enum class Tie { kNo, kYes };

inline TensorTable TinyTable(Tie tie, int layers = 4) {
  TensorTable t;
  t.tied = tie == Tie::kYes;
  const auto unit = [&](std::string name, UnitKind kind, int layer) {
    t.units.push_back({.name = std::move(name), .kind = kind, .layer = layer});
  };
  const auto tensor = [&](std::string name, int64_t rows, int64_t cols) {
    t.units.back().tensors.push_back(static_cast<int>(t.tensors.size()));
    t.tensors.push_back({.name = std::move(name),
                         .rows = rows,
                         .cols = cols,
                         .unit = static_cast<int>(t.units.size()) - 1,
                         .vector = cols == 1});
  };
  unit("embedding", UnitKind::kEmbedding, -1);
  tensor("embed", 200, 32);
  for (int l = 0; l < layers; ++l) {
    const std::string p = "layer" + std::to_string(l) + ".";
    unit("layer " + std::to_string(l), UnitKind::kLayer, l);
    tensor(p + "norm", 32, 1);
    tensor(p + "q", 32, 32);
    tensor(p + "up", l % 2 == 0 ? 200 : 136, 32);  // layers of two sizes share buffers
    tensor(p + "down", 32, 48);
  }
  unit("head", UnitKind::kHead, -1);
  tensor("final_norm", 32, 1);
  if (tie == Tie::kNo) tensor("lm_head", 200, 32);
  return t;
}

// A value with many bits for element `index` of what `key` names: sums of a few depend on the
// order.
// Cheap (SplitMix64), since tests with sanitizers ask for millions.
inline float Noise(uint64_t key, int64_t index) {
  uint64_t z = key * 0xD1342543DE82EF95ull + static_cast<uint64_t>(index) * 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  z ^= z >> 31;
  const double unit = static_cast<double>(z >> 11) * 0x1p-53 - 0.5;
  return static_cast<float>(unit * static_cast<double>(1 << (z % 11)));
}

}  // namespace blockstep
