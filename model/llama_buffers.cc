#include "model/llama_buffers.h"

#include <algorithm>

#include "core/base/math.h"
#include "core/base/status.h"

namespace blockstep {
namespace {

// Carves (rows, cols) fp32, or bytes, of one class; the first failure sticks.
class Carver {
 public:
  Carver(Arena& arena, MemoryClass cls, std::string prefix)
      : arena_(arena), cls_(cls), prefix_(std::move(prefix)) {}

  void Into(TensorView& view, const char* name, int64_t rows, int64_t cols) {
    view = TensorView::Of(Bytes(name, rows * cols * 4), DType::kF32, rows, cols);
  }
  void* Bytes(const char* name, int64_t bytes) {
    if (!status_.ok()) return nullptr;
    auto data = arena_.Allocate(cls_, Cat(prefix_, name), bytes);
    if (data.ok()) return *data;
    status_ = data.status();
    return nullptr;
  }
  absl::Status status() const { return status_; }

 private:
  Arena& arena_;
  MemoryClass cls_;
  std::string prefix_;
  absl::Status status_;
};

// Sub-carves one block; with a null base it only adds up.
class Overlay {
 public:
  explicit Overlay(void* base) : base_(static_cast<char*>(base)) {}
  void* Bytes(int64_t bytes) {
    void* at = base_ == nullptr ? nullptr : base_ + used_;
    used_ += RoundUp(bytes, 256);
    return at;
  }
  void Into(TensorView& view, int64_t rows, int64_t cols) {
    view = TensorView::Of(Bytes(rows * cols * 4), DType::kF32, rows, cols);
  }
  int64_t used() const { return used_; }

 private:
  char* base_;
  int64_t used_ = 0;
};

TensorView FirstRows(const TensorView& view, int64_t n) {
  return view.defined() ? view.Rows(0, n) : view;
}
TensorView FirstCols(const TensorView& view, int64_t n) {
  return view.defined() ? view.Cols(0, n) : view;
}

struct Keep {
  bool input, rstd1, norm1, q, k, v, stats, attn, mid, rstd2, norm2, gate, up, swiglu;
};

// For n tokens whose attention keeps `stats_bytes`.
void CarveLayer(const LlamaConfig& c, const Keep& keep, int64_t n, int64_t stats_bytes,
                Carver& carve, LayerBuffers& b) {
  const int64_t query = c.heads * c.head_dim, key = c.kv_heads * c.head_dim;
  if (keep.input) carve.Into(b.input, "input", n, c.hidden);
  if (keep.rstd1) carve.Into(b.rstd1, "rstd1", 1, n);
  if (keep.norm1) carve.Into(b.norm1, "norm1", n, c.hidden);
  if (keep.q) carve.Into(b.q, "q", n, query);
  if (keep.k) carve.Into(b.k, "k", n, key);
  if (keep.v) carve.Into(b.v, "v", n, key);
  if (keep.stats) b.stats = carve.Bytes("attention stats", stats_bytes);
  if (keep.attn) carve.Into(b.attn, "attn", n, query);
  if (keep.mid) carve.Into(b.mid, "mid", n, c.hidden);
  if (keep.rstd2) carve.Into(b.rstd2, "rstd2", 1, n);
  if (keep.norm2) carve.Into(b.norm2, "norm2", n, c.hidden);
  if (keep.gate) carve.Into(b.gate, "gate", n, c.intermediate);
  if (keep.up) carve.Into(b.up, "up", n, c.intermediate);
  if (keep.swiglu) carve.Into(b.swiglu, "swiglu", n, c.intermediate);
}

}  // namespace

LayerBuffers LayerBuffers::First(int64_t n) const {
  return {.input = FirstRows(input, n),
          .rstd1 = FirstCols(rstd1, n),
          .norm1 = FirstRows(norm1, n),
          .q = FirstRows(q, n),
          .k = FirstRows(k, n),
          .v = FirstRows(v, n),
          .stats = stats,
          .attn = FirstRows(attn, n),
          .mid = FirstRows(mid, n),
          .rstd2 = FirstCols(rstd2, n),
          .norm2 = FirstRows(norm2, n),
          .gate = FirstRows(gate, n),
          .up = FirstRows(up, n),
          .swiglu = FirstRows(swiglu, n)};
}

Scratch Scratch::First(int64_t n) const {
  Scratch s = *this;
  for (TensorView* view : {&s.x, &s.norm, &s.delta, &s.q, &s.attn, &s.k, &s.v, &s.gate, &s.up}) {
    *view = FirstRows(*view, n);
  }
  return s;
}

AttentionShape AttentionShapeOf(const LlamaConfig& c, int64_t slots, int64_t tokens) {
  return {.slots = slots,
          .q_len = tokens,
          .kv_len = tokens,
          .heads = c.heads,
          .kv_heads = c.kv_heads,
          .head_dim = c.head_dim};
}

absl::StatusOr<RunBuffers> CarveRunBuffers(const LlamaConfig& c, const LlamaOptions& options,
                                           BatchShape shape, int threads, Arena& arena) {
  const int64_t n = shape.slots * shape.tokens;
  const int64_t query = c.heads * c.head_dim, key = c.kv_heads * c.head_dim;
  const int64_t chunk = std::min(options.loss_chunk, shape.tokens);
  const KernelTable& kernels = *options.backend->kernels;
  const int64_t attention_bytes =
      kernels.attention_scratch_bytes == nullptr
          ? 0
          : kernels.attention_scratch_bytes(AttentionShapeOf(c, shape.slots, shape.tokens),
                                            threads);
  RunBuffers run;
  Scratch& s = run.scratch;
  const auto overlay = [&](void* base) {
    Overlay layer(base), head(base);
    layer.Into(s.delta, n, c.hidden);
    layer.Into(s.q, n, query);
    layer.Into(s.attn, n, query);
    layer.Into(s.k, n, key);
    layer.Into(s.v, n, key);
    layer.Into(s.gate, n, c.intermediate);
    layer.Into(s.up, n, c.intermediate);
    s.attention = layer.Bytes(attention_bytes);
    head.Into(s.logits, chunk, c.vocab);
    return std::max(layer.used(), head.used());
  };
  const int64_t overlay_bytes = overlay(nullptr);

  Carver carve(arena, MemoryClass::kWorkspace, "");
  carve.Into(run.rope_cos, "rope cos", shape.tokens, c.head_dim / 2);
  carve.Into(run.rope_sin, "rope sin", shape.tokens, c.head_dim / 2);
  carve.Into(s.x, "residual stream", n, c.hidden);
  carve.Into(s.norm, "norm output", n, c.hidden);
  RETURN_IF_ERROR(carve.status());
  ASSIGN_OR_RETURN(void* base, arena.Allocate(MemoryClass::kWorkspace,
                                              "layer scratch or logits chunk", overlay_bytes));
  overlay(base);
  return run;
}

absl::StatusOr<PhaseBuffers> CarvePhaseBuffers(const LlamaConfig& config,
                                               const LlamaOptions& options, const SavePlan& plan,
                                               BatchShape shape, Arena& arena) {
  const int64_t n = shape.slots * shape.tokens;
  const int64_t stats_bytes = options.backend->kernels->attention_stats_bytes(
      AttentionShapeOf(config, shape.slots, shape.tokens));
  PhaseBuffers phase;
  phase.layers.resize(plan.layers.size());
  Keep rerun = {};
  for (size_t l = 0; l < plan.layers.size(); ++l) {
    const LayerPlan& p = plan.layers[l];
    Keep keep = {p.save_input, p.save_rstd1, p.save_norm1, p.save_q,     p.save_k,
                 p.save_v,     p.save_stats, p.save_attn,  p.save_mid,   p.save_rstd2,
                 p.save_norm2, p.save_gate,  p.save_up,    p.save_swiglu};
    if (p.recompute) {
      rerun = {false,
               rerun.rstd1 || keep.rstd1,
               rerun.norm1 || keep.norm1,
               rerun.q || keep.q,
               rerun.k || keep.k,
               rerun.v || keep.v,
               rerun.stats || keep.stats,
               rerun.attn || keep.attn,
               rerun.mid || keep.mid,
               rerun.rstd2 || keep.rstd2,
               rerun.norm2 || keep.norm2,
               rerun.gate || keep.gate,
               rerun.up || keep.up,
               rerun.swiglu || keep.swiglu};
      keep = {.input = true};
    }
    Carver carve(arena, MemoryClass::kActivations, Cat("layer ", l, " "));
    CarveLayer(config, keep, n, stats_bytes, carve, phase.layers[l]);
    RETURN_IF_ERROR(carve.status());
  }
  Carver carve(arena, MemoryClass::kActivations, "recomputed ");
  CarveLayer(config, rerun, n, stats_bytes, carve, phase.rerun);
  RETURN_IF_ERROR(carve.status());

  Carver last(arena, MemoryClass::kActivations, "final ");
  if (plan.d_hidden) last.Into(phase.final_rstd, "rstd", 1, n);
  RETURN_IF_ERROR(last.status());
  Carver work(arena, MemoryClass::kWorkspace, "");
  if (plan.d_final_input) {
    work.Into(phase.d_residual, "gradient of the residual stream", n, config.hidden);
  }
  RETURN_IF_ERROR(work.status());
  return phase;
}

}  // namespace blockstep
