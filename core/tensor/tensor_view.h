// A non-owning, copyable view of a matrix in device memory. 1-D tensors are (1, n)... see below.
// Letters used everywhere: B slots, T tokens of a slot, n tokens (B*T or a chunk of it), C hidden
// size, I intermediate size, V vocabulary, H query heads, G key/value heads, D head size.
#pragma once

#include <cstdint>

#include "core/base/check.h"

namespace blockstep {

enum class DType : uint8_t { kF32, kBF16, kF64, kI32, kI64, kU8 };
constexpr int64_t DTypeSize(DType t) {
  switch (t) {
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kBF16:
      return 2;
    case DType::kF64:
    case DType::kI64:
      return 8;
    case DType::kU8:
      return 1;
  }
  return 0;
}
constexpr const char* DTypeName(DType t) {
  constexpr const char* kNames[] = {"F32", "BF16", "F64", "I32", "I64", "U8"};
  return kNames[static_cast<int>(t)];
}

// (rows, cols), row-major, row r starts at element r * ld. A vector of n is (1, n) as an activation
// and (n, 1) as a parameter (TensorInfo), so that sharding along rows means the same for both.
struct TensorView {
  void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t ld = 0;  // elements; >= cols

  static TensorView Of(void* data, DType dtype, int64_t rows, int64_t cols) {
    return {data, dtype, rows, cols, cols};
  }
  bool defined() const { return data != nullptr; }
  bool contiguous() const { return ld == cols || rows <= 1; }
  int64_t size() const { return rows * cols; }
  int64_t bytes() const { return size() * DTypeSize(dtype); }

  template <typename T>
  T* row(int64_t r) const {
    CHECK_EQ(static_cast<int64_t>(sizeof(T)), DTypeSize(dtype));
    return static_cast<T*>(data) + r * ld;
  }
  float* f32(int64_t r = 0) const {
    CHECK(dtype == DType::kF32);
    return static_cast<float*>(data) + r * ld;
  }
  // Rows [begin, end).
  TensorView Rows(int64_t begin, int64_t end) const {
    CHECK_LE(0, begin);
    CHECK_LE(begin, end);
    CHECK_LE(end, rows);
    return {static_cast<char*>(data) + begin * ld * DTypeSize(dtype), dtype, end - begin, cols, ld};
  }
  // Columns [begin, end).
  TensorView Cols(int64_t begin, int64_t end) const {
    CHECK_LE(begin, end);
    CHECK_LE(end, cols);
    return {static_cast<char*>(data) + begin * DTypeSize(dtype), dtype, rows, end - begin, ld};
  }
};

}  // namespace blockstep
