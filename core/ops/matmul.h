// D (M, N) = alpha * op(A) * op(B) + beta * D, op = identity or transpose.
//   A: (M, K), or stored (K, M) with trans_a;  B: (K, N), or stored (N, K) with trans_b.
// Accumulation in fp32 over the whole of K (K is never split); beta is 0 (=, D's old contents are
// not read) or 1 (+=). Work is split into row tiles of the *absolute* output row: row i of D is row
// `first_row + i` of the whole output and tiles start at multiples of kMatmulRowTile there, so
// neither threads nor the range of rows asked for choose the bits of a row.
#pragma once

#include "core/tensor/tensor_view.h"

namespace blockstep {

inline constexpr int64_t kMatmulRowTile = 64;

enum class Transpose : uint8_t { kNo, kYes };
// How a gradient output combines with what is there.
enum class Accumulate : uint8_t { kAssign, kAdd };  // =, +=

struct PackedWeight {  // B in the layout the library asked for; from KernelTable::pack_weight
  const void* data = nullptr;
  int64_t k = 0, n = 0;
};

struct MatmulArgs {
  TensorView a, b, d;
  Transpose trans_a = Transpose::kNo;
  Transpose trans_b = Transpose::kNo;
  float alpha = 1.0f;
  Accumulate accumulate = Accumulate::kAssign;
  int64_t first_row = 0;  // multiple of kMatmulRowTile
  PackedWeight packed_b;  // (optional: data null) must hold the same values as b
};

struct PackWeightArgs {
  TensorView b;
  Transpose trans_b = Transpose::kNo;
  int64_t rows_per_call = 0;  // M the packed form is meant for
  void* out = nullptr;
};

}  // namespace blockstep
