// The parameters of a model as every floor sees them: tensors with Hugging Face names, grouped into
// units (what is gathered and released together). Indices are positions in these vectors and are
// the same on every rank.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor/tensor_view.h"

namespace blockstep {

// How a fresh tensor is filled.
enum class InitKind { kNormal, kOnes };

struct TensorInfo {
  std::string name;  // "model.layers.3.self_attn.q_proj.weight"
  int64_t rows = 0;  // out features; n for a vector of n
  int64_t cols = 0;  // in features; 1 for a vector
  int unit = 0;
  bool vector = false;  // 1-D in files: shape (rows)
  bool decay = true;    // takes weight decay: matrices do, norms do not
  InitKind init = InitKind::kNormal;
  DType dtype = DType::kF32;  // of the weights that are computed with
  int64_t size() const { return rows * cols; }
  int64_t row_bytes() const { return cols * DTypeSize(dtype); }
  int64_t bytes() const { return size() * DTypeSize(dtype); }
};

enum class UnitKind { kEmbedding, kLayer, kHead };

struct UnitInfo {
  std::string name;  // "embedding", "layer 3", "head"
  UnitKind kind = UnitKind::kLayer;
  int layer = -1;
  std::vector<int> tensors;  // in file order
};

struct TensorTable {
  std::vector<TensorInfo> tensors;
  std::vector<UnitInfo> units;  // embedding, layers 0.., head
  // Tied weights: the head's matrix is the embedding's tensor; it lives in unit `embedding` and is
  // listed there only.
  bool tied = false;

  // -1 if there is none.
  int Find(std::string_view name) const;
  int64_t parameters() const;
};

}  // namespace blockstep
