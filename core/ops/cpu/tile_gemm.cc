#include "core/ops/cpu/tile_gemm.h"

#if defined(__SANITIZE_THREAD__)
#define BLOCKSTEP_REFERENCE_GEMM 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BLOCKSTEP_REFERENCE_GEMM 1
#endif
#endif

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "core/base/check.h"

#if !defined(BLOCKSTEP_REFERENCE_GEMM)
#include <omp.h>

#include <dnnl.hpp>
#endif

namespace blockstep::cpu {

#if defined(BLOCKSTEP_REFERENCE_GEMM)

// ThreadSanitizer sees nothing of code generated at run time, so a missing wait before a product
// would pass; loops that it does see stand in for the library.
struct TileGemm::Impl {
  TileShape s;
};

TileGemm::TileGemm(const TileShape& shape) : impl_(new Impl{shape}) {}

void TileGemm::Run(const float* a, const float* b, float* d) const {
  const TileShape& s = impl_->s;
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

#else

namespace {

using dnnl::memory;

const dnnl::engine& Engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

// What each thread needs to run primitives. The library's OpenMP team is one thread per setting of
// the calling thread, so it is set where the thread first comes by.
struct ThreadState {
  ThreadState() : stream((omp_set_num_threads(1), Engine())) {}
  dnnl::stream stream;
  std::vector<char> scratchpad;
  void* Scratchpad(size_t bytes) {
    constexpr size_t kAlign = 64;
    if (scratchpad.size() < bytes + kAlign) scratchpad.resize(bytes + kAlign);
    const uintptr_t at = reinterpret_cast<uintptr_t>(scratchpad.data());
    return reinterpret_cast<void*>((at + kAlign - 1) / kAlign * kAlign);
  }
};
ThreadState& ThisThread() {
  thread_local ThreadState state;
  return state;
}

// Matrix (rows, cols) stored with `ld`, or its transpose stored (cols, rows).
memory::desc Plain(int64_t rows, int64_t cols, int64_t ld, Transpose transpose) {
  return {{rows, cols},
          memory::data_type::f32,
          transpose == Transpose::kYes ? memory::dims{1, ld} : memory::dims{ld, 1}};
}

dnnl::matmul::primitive_desc MakeMatmul(const memory::desc& a, const memory::desc& b,
                                        const memory::desc& d, dnnl::primitive_attr attr) {
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
#if DNNL_VERSION_MAJOR >= 3
  return dnnl::matmul::primitive_desc(Engine(), a, b, d, attr);
#else
  return dnnl::matmul::primitive_desc(dnnl::matmul::desc(a, b, d), attr, Engine());
#endif
}

dnnl::primitive_attr Attributes(Accumulate accumulate) {
  dnnl::primitive_attr attr;
  if (accumulate == Accumulate::kAdd) {
    dnnl::post_ops ops;
    ops.append_sum(1.0f);
    attr.set_post_ops(ops);
  }
  return attr;
}

// The layout that the library asks for with a full tile; tails and all shapes of A take it as it
// is.
memory::desc PackedLayout(int64_t k, int64_t n) {
  ThisThread();
  const memory::desc any({k, n}, memory::data_type::f32, memory::format_tag::any);
  return MakeMatmul(Plain(kMatmulRowTile, k, k, Transpose::kNo), any,
                    Plain(kMatmulRowTile, n, n, Transpose::kNo), {})
      .weights_desc();
}

}  // namespace

struct TileGemm::Impl {
  memory::desc a, b, d, scratchpad;
  dnnl::matmul primitive;
  std::string implementation;
};

TileGemm::TileGemm(const TileShape& s) : impl_(std::make_unique<Impl>()) {
  ThisThread();
  impl_->a = Plain(s.m, s.k, s.lda, s.trans_a);
  impl_->b = s.packed_b ? PackedLayout(s.k, s.n) : Plain(s.k, s.n, s.ldb, s.trans_b);
  impl_->d = Plain(s.m, s.n, s.ldd, Transpose::kNo);
  const auto pd = MakeMatmul(impl_->a, impl_->b, impl_->d, Attributes(s.accumulate));
  impl_->scratchpad = pd.scratchpad_desc();
  impl_->primitive = dnnl::matmul(pd);
  impl_->implementation = pd.impl_info_str();
}

void TileGemm::Run(const float* a, const float* b, float* d) const {
  ThreadState& thread = ThisThread();
  const auto wrap = [](const memory::desc& desc, const void* data) {
    return memory(desc, Engine(), const_cast<void*>(data));
  };
  impl_->primitive.execute(
      thread.stream, {{DNNL_ARG_SRC, wrap(impl_->a, a)},
                      {DNNL_ARG_WEIGHTS, wrap(impl_->b, b)},
                      {DNNL_ARG_DST, wrap(impl_->d, d)},
                      {DNNL_ARG_SCRATCHPAD,
                       wrap(impl_->scratchpad, thread.Scratchpad(impl_->scratchpad.get_size()))}});
}

const char* TileGemm::implementation() const { return impl_->implementation.c_str(); }

int64_t PackedTileBytes(int64_t k, int64_t n) {
  return static_cast<int64_t>(PackedLayout(k, n).get_size());
}

void PackTile(const float* b, int64_t ldb, Transpose trans_b, int64_t k, int64_t n, void* out) {
  ThreadState& thread = ThisThread();
  memory from(Plain(k, n, ldb, trans_b), Engine(), const_cast<float*>(b));
  memory to(PackedLayout(k, n), Engine(), out);
  dnnl::reorder(from, to).execute(thread.stream, from, to);
}

#endif

TileGemm::~TileGemm() = default;

const TileGemm& TileGemm::For(const TileShape& shape) {
  static std::mutex mutex;
  // Never destroyed: pool threads may outlive static destructors.
  static auto& cache = *new std::map<TileShape, std::unique_ptr<TileGemm>>;
  std::lock_guard lock(mutex);
  std::unique_ptr<TileGemm>& entry = cache[shape];
  if (entry == nullptr) entry.reset(new TileGemm(shape));
  return *entry;
}

}  // namespace blockstep::cpu
