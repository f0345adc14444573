#include "core/ops/cpu/tile_gemm.h"

#include <map>
#include <mutex>
#include <string>
#include <vector>

#if !defined(BLOCKSTEP_REFERENCE_GEMM)
#include <omp.h>

#include <dnnl.hpp>
#endif

#include "core/base/str.h"

namespace blockstep::cpu {

#if !defined(BLOCKSTEP_REFERENCE_GEMM)

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

TileGemm::~TileGemm() = default;

std::string GemmLibrary() {
  const dnnl_version_t& v = *dnnl::version();
  return Cat("onednn ", v.major, ".", v.minor, ".", v.patch, ", instructions ", std::hex,
             static_cast<int>(dnnl::get_effective_cpu_isa()));
}

#endif

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
