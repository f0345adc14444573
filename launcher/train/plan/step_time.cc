#include "launcher/train/plan/step_time.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "core/base/status.h"
#include "core/device/host_buffer.h"
#include "core/device/host_stream.h"

namespace blockstep {
namespace {

constexpr double kSecondsEach = 0.1;

// Median time of one call, after one that warms up.
template <typename Call>
double Median(const Call& call) {
  const auto now = [] { return std::chrono::steady_clock::now(); };
  const auto seconds = [](auto d) { return std::chrono::duration<double>(d).count(); };
  call();
  std::vector<double> times;
  for (const auto began = now(); times.empty() || seconds(now() - began) < kSecondsEach;) {
    const auto from = now();
    call();
    times.push_back(seconds(now() - from));
  }
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

class Bench {
 public:
  explicit Bench(int threads) : pool_(threads), stream_("bench", &pool_) {}

  absl::Status Measure(const LlamaConfig& model, BatchShape shape, MachineRates& rates) {
    RETURN_IF_ERROR(Gemm(model, shape.slots * shape.tokens, rates));
    RETURN_IF_ERROR(Attention(model, shape.tokens, rates));
    return Memory(rates);
  }

 private:
  absl::StatusOr<TensorView> Make(int64_t rows, int64_t cols) {
    TensorView view = TensorView::Of(nullptr, DType::kF32, rows, cols);
    ASSIGN_OR_RETURN(view.data, Reserve(view.bytes()));
    kernels_.fill(stream_, {.dst = view, .value = 0.5f});
    return view;
  }
  absl::StatusOr<void*> Reserve(int64_t bytes) {
    ASSIGN_OR_RETURN(HostBuffer memory, HostBuffer::Allocate(CpuBackend(), bytes));
    memory_.push_back(std::move(memory));
    return memory_.back().data();
  }

  // Forward, dX and dW of several matrices in turn, as a step runs them: none finds its weights in
  // a small cache.
  absl::Status Gemm(const LlamaConfig& model, int64_t tokens, MachineRates& rates) {
    const int64_t n = std::clamp<int64_t>(tokens, 64, 1024);
    const int64_t in = std::min<int64_t>(model.hidden, 4096),
                  out = std::min<int64_t>(model.intermediate, 4096);
    const int64_t count = std::clamp<int64_t>((int64_t{16} << 20) / (in * out), 1, 8);
    ASSIGN_OR_RETURN(const TensorView x, Make(n, in));
    ASSIGN_OR_RETURN(const TensorView y, Make(n, out));
    ASSIGN_OR_RETURN(const TensorView dw, Make(out, in));
    std::vector<MatmulArgs> products;
    for (int64_t i = 0; i < count; ++i) {
      ASSIGN_OR_RETURN(const TensorView w, Make(out, in));
      products.push_back({.a = x, .b = w, .d = y, .trans_b = Transpose::kYes});
      products.push_back({.a = y, .b = w, .d = x});
      products.push_back({.a = y, .b = x, .d = dw, .trans_a = Transpose::kYes});
    }
    double flops = 0;
    for (const MatmulArgs& p : products) flops += static_cast<double>(Cost(p).flops);
    const double seconds = Median([&] {
      for (const MatmulArgs& p : products) kernels_.matmul(stream_, p);
    });
    rates.gemm_flops = flops / seconds;
    return absl::OkStatus();
  }

  absl::Status Attention(const LlamaConfig& model, int64_t tokens, MachineRates& rates) {
    // Enough slots that every thread has heads to work on.
    const int64_t slots = DivCeil(2 * pool_.threads(), model.kv_heads);
    const AttentionShape shape{.slots = slots,
                               .q_len = tokens,
                               .kv_len = tokens,
                               .heads = model.heads,
                               .kv_heads = model.kv_heads,
                               .head_dim = model.head_dim};
    const int64_t n = slots * tokens, wide = model.heads * model.head_dim,
                  narrow = model.kv_heads * model.head_dim;
    ASSIGN_OR_RETURN(const TensorView q, Make(n, wide));
    ASSIGN_OR_RETURN(const TensorView k, Make(n, narrow));
    ASSIGN_OR_RETURN(const TensorView v, Make(n, narrow));
    ASSIGN_OR_RETURN(const TensorView out, Make(n, wide));
    ASSIGN_OR_RETURN(const TensorView dout, Make(n, wide));
    ASSIGN_OR_RETURN(const TensorView dq, Make(n, wide));
    ASSIGN_OR_RETURN(const TensorView dk, Make(n, narrow));
    ASSIGN_OR_RETURN(const TensorView dv, Make(n, narrow));
    ASSIGN_OR_RETURN(void* scratch,
                     Reserve(kernels_.attention_scratch_bytes(shape, pool_.threads())));
    ASSIGN_OR_RETURN(void* stats, Reserve(kernels_.attention_stats_bytes(shape)));
    const AttentionForwardArgs forward{.shape = shape,
                                       .q = q,
                                       .k = k,
                                       .v = v,
                                       .out = out,
                                       .stats = stats,
                                       .scale = 1.0f,
                                       .scratch = scratch};
    const AttentionBackwardArgs backward{.shape = shape,
                                         .q = q,
                                         .k = k,
                                         .v = v,
                                         .out = out,
                                         .dout = dout,
                                         .dq = dq,
                                         .dk = dk,
                                         .dv = dv,
                                         .stats = stats,
                                         .scale = 1.0f,
                                         .scratch = scratch};
    rates.attention_flops =
        static_cast<double>(Cost(forward).flops + Cost(backward).flops) / Median([&] {
          kernels_.attention_forward(stream_, forward);
          kernels_.attention_backward(stream_, backward);
        });
    return absl::OkStatus();
  }

  // Norm and update of a gradient far larger than caches, which is what most bytes of a step go to.
  absl::Status Memory(MachineRates& rates) {
    constexpr int64_t kElements = int64_t{12} << 20;
    ASSIGN_OR_RETURN(const TensorView param, Make(kElements / 256, 256));
    ASSIGN_OR_RETURN(const TensorView grad, Make(kElements / 256, 256));
    ASSIGN_OR_RETURN(const TensorView m, Make(kElements / 256, 256));
    ASSIGN_OR_RETURN(const TensorView v, Make(kElements / 256, 256));
    ExactSum sum;
    const SquaredNormArgs norm{.x = grad, .sum = &sum};
    const AdamWArgs update{.param = param, .grad = grad, .m = m, .v = v, .lr = 1e-3f};
    const double seconds = Median([&] {
      kernels_.squared_norm(stream_, norm);
      kernels_.adamw(stream_, update);
    });
    rates.memory_bytes = static_cast<double>(Cost(norm).bytes + Cost(update).bytes) / seconds;
    return absl::OkStatus();
  }

  const KernelTable& kernels_ = *CpuBackend().kernels;
  ThreadPool pool_;
  InlineStream stream_;
  std::vector<HostBuffer> memory_;
};

}  // namespace

absl::StatusOr<MachineRates> MeasureMachine(const LlamaConfig& model, BatchShape shape,
                                            int threads) {
  MachineRates rates;
  RETURN_IF_ERROR(Bench(threads).Measure(model, shape, rates));
  return rates;
}

double ExpectedSeconds(const PhasePlan& phase, const MachineRates& rates, int local_ranks) {
  double seconds = 0;
  for (const auto& [what, calls] : phase.ops.calls) {
    const auto& [kind, cost] = what;
    const double bytes = static_cast<double>(cost.bytes) / rates.memory_bytes;
    const double rate = kind == OpKind::kAttention ? rates.attention_flops : rates.gemm_flops;
    const double flops = static_cast<double>(cost.flops) / rate;
    seconds += static_cast<double>(calls) * (kind == OpKind::kMatmul      ? std::max(flops, bytes)
                                             : kind == OpKind::kAttention ? flops
                                                                          : bytes);
  }
  const auto sent = static_cast<double>(phase.sent.total());
  // Read here, written there.
  if (rates.link_bytes == 0) return (seconds + 2 * sent / rates.memory_bytes) * local_ranks;
  return std::max(seconds * local_ranks, sent / rates.link_bytes);
}

}  // namespace blockstep
