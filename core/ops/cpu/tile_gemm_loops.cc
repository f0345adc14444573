// The product of a tile as plain loops, compiled in place of the library under ThreadSanitizer: it
// sees nothing of code generated at run time, so a missing wait before a product would pass.
#include "core/ops/cpu/tile_gemm.h"

#if defined(BLOCKSTEP_REFERENCE_GEMM)

extern "C" void __tsan_read_range(void* begin, unsigned long bytes);
extern "C" void __tsan_write_range(void* begin, unsigned long bytes);

namespace blockstep::cpu {
namespace {

// Told by the row, so that the loops themselves run without instrumentation, many times faster.
void TellRead(const float* data, int64_t rows, int64_t cols, int64_t ld) {
  for (int64_t i = 0; i < rows; ++i) {
    __tsan_read_range(const_cast<float*>(data + i * ld), cols * sizeof(float));
  }
}

__attribute__((no_sanitize("thread"))) void Product(const TileShape& s, const float* a,
                                                    const float* b, float* d) {
  const int64_t a_row = s.trans_a == Transpose::kYes ? 1 : s.lda;
  const int64_t a_k = s.trans_a == Transpose::kYes ? s.lda : 1;
  const int64_t b_k = s.packed_b ? s.n : s.trans_b == Transpose::kYes ? 1 : s.ldb;
  const int64_t b_col = s.packed_b ? 1 : s.trans_b == Transpose::kYes ? s.ldb : 1;
  for (int64_t i = 0; i < s.m; ++i) {
    float* out = d + i * s.ldd;
    for (int64_t j = 0; j < s.n && s.accumulate == Accumulate::kAssign; ++j) out[j] = 0.0f;
    if (b_col == 1) {  // along rows of B, for speed alone
      for (int64_t k = 0; k < s.k; ++k) {
        const float x = a[i * a_row + k * a_k];
        for (int64_t j = 0; j < s.n; ++j) out[j] += x * b[k * b_k + j];
      }
    } else {
      for (int64_t j = 0; j < s.n; ++j) {
        float sum = 0;
        for (int64_t k = 0; k < s.k; ++k) sum += a[i * a_row + k * a_k] * b[k + j * b_col];
        out[j] += sum;
      }
    }
  }
}

}  // namespace

struct TileGemm::Impl {
  TileShape s;
};

TileGemm::TileGemm(const TileShape& shape) : impl_(new Impl{shape}) {}
TileGemm::~TileGemm() = default;

void TileGemm::Run(const float* a, const float* b, float* d) const {
  const TileShape& s = impl_->s;
  const bool a_turned = s.trans_a == Transpose::kYes, b_turned = s.trans_b == Transpose::kYes;
  TellRead(a, a_turned ? s.k : s.m, a_turned ? s.m : s.k, s.lda);
  if (s.packed_b) {
    TellRead(b, s.k, s.n, s.n);
  } else {
    TellRead(b, b_turned ? s.n : s.k, b_turned ? s.k : s.n, s.ldb);
  }
  for (int64_t i = 0; i < s.m; ++i) __tsan_write_range(d + i * s.ldd, s.n * sizeof(float));
  Product(s, a, b, d);
}

std::string GemmLibrary() { return "loops"; }

const char* TileGemm::implementation() const { return "loops"; }

int64_t PackedTileBytes(int64_t k, int64_t n) { return k * n * sizeof(float); }

void PackTile(const float* b, int64_t ldb, Transpose trans_b, int64_t k, int64_t n, void* out) {
  for (int64_t i = 0; i < k; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      static_cast<float*>(out)[i * n + j] =
          trans_b == Transpose::kYes ? b[j * ldb + i] : b[i * ldb + j];
    }
  }
}

}  // namespace blockstep::cpu

#endif
