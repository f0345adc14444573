// One single-thread product of a tile, D (m, n) = or += op(A) * op(B): the one
// place that knows the matrix library (oneDNN 2 and 3). A TileGemm is made once per shape and
// shared by all threads; which code computes a row depends on this shape alone.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/ops/matmul.h"

#if defined(__SANITIZE_THREAD__)
#define BLOCKSTEP_REFERENCE_GEMM 1  // tile_gemm_loops.cc says why
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BLOCKSTEP_REFERENCE_GEMM 1
#endif
#endif

namespace blockstep::cpu {

struct TileShape {
  int64_t m = 0, n = 0, k = 0;
  int64_t lda = 0, ldb = 0, ldd = 0;
  Transpose trans_a = Transpose::kNo, trans_b = Transpose::kNo;
  Accumulate accumulate = Accumulate::kAssign;
  bool packed_b = false;  // B comes from PackTile, and ldd is n
  friend auto operator<=>(const TileShape&, const TileShape&) = default;
};

class TileGemm {
 public:
  // From the cache of the process, made on first use; valid until the process ends.
  static const TileGemm& For(const TileShape& shape);
  ~TileGemm();

  void Run(const float* a, const float* b, float* d) const;
  // The library's name of the code that was chosen, for tests and benchmarks.
  const char* implementation() const;

 private:
  struct Impl;
  explicit TileGemm(const TileShape& shape);
  std::unique_ptr<Impl> impl_;
};

// "onednn 2.6.3, instructions 1fef": where it is equal, products are equal bit by bit.
std::string GemmLibrary();

// Bytes of a packed B of (k, n), and packing it from plain rows.
int64_t PackedTileBytes(int64_t k, int64_t n);
void PackTile(const float* b, int64_t ldb, Transpose trans_b, int64_t k, int64_t n, void* out);

}  // namespace blockstep::cpu
