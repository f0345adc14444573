#include "launcher/trainer/plan/step_time.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "core/base/status.h"
#include "core/device/arena.h"

namespace blockstep {
namespace {

constexpr double kSecondsEach = 0.1;

// Shortest time of one call, after one that warms up.
template <typename Call>
double Best(const Call& call) {
  const auto now = [] { return std::chrono::steady_clock::now(); };
  const auto seconds = [](auto d) { return std::chrono::duration<double>(d).count(); };
  call();
  double best = 1e9;
  for (const auto began = now(); seconds(now() - began) < kSecondsEach;) {
    const auto from = now();
    call();
    best = std::min(best, seconds(now() - from));
  }
  return best;
}

class Bench {
 public:
  Bench(Arena arena, int threads)
      : pool_(threads), stream_("bench", &pool_), arena_(std::move(arena)) {}

  absl::Status Measure(const LlamaConfig& model, int64_t tokens, MachineRates& rates) {
    RETURN_IF_ERROR(Gemm(model, tokens, rates));
    RETURN_IF_ERROR(Attention(model, tokens, rates));
    return Memory(rates);
  }

 private:
  absl::StatusOr<TensorView> Make(int64_t rows, int64_t cols) {
    TensorView view = TensorView::Of(nullptr, DType::kF32, rows, cols);
    ASSIGN_OR_RETURN(view.data, arena_.Allocate(MemoryClass::kWorkspace, "bench", view.bytes()));
    kernels_.fill(stream_, {.dst = view, .value = 0.5f});
    return view;
  }

  absl::Status Gemm(const LlamaConfig& model, int64_t tokens, MachineRates& rates) {
    ASSIGN_OR_RETURN(const TensorView a, Make(std::max<int64_t>(tokens, 256), model.hidden));
    ASSIGN_OR_RETURN(const TensorView b, Make(model.intermediate, model.hidden));
    ASSIGN_OR_RETURN(const TensorView d, Make(a.rows, model.intermediate));
    const MatmulArgs args{.a = a, .b = b, .d = d, .trans_b = Transpose::kYes};
    rates.gemm_flops =
        static_cast<double>(Cost(args).flops) / Best([&] { kernels_.matmul(stream_, args); });
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
    ASSIGN_OR_RETURN(const TensorView lse, Make(n, model.heads));
    ASSIGN_OR_RETURN(const TensorView dout, Make(n, wide));
    ASSIGN_OR_RETURN(const TensorView dq, Make(n, wide));
    ASSIGN_OR_RETURN(const TensorView dk, Make(n, narrow));
    ASSIGN_OR_RETURN(const TensorView dv, Make(n, narrow));
    ASSIGN_OR_RETURN(void* scratch,
                     arena_.Allocate(MemoryClass::kWorkspace, "scratch",
                                     kernels_.attention_scratch_bytes(shape, pool_.threads())));
    const AttentionForwardArgs forward{.shape = shape,
                                       .q = q,
                                       .k = k,
                                       .v = v,
                                       .out = out,
                                       .lse = lse,
                                       .scale = 1.0f,
                                       .scratch = scratch};
    const AttentionBackwardArgs backward{.shape = shape,
                                         .q = q,
                                         .k = k,
                                         .v = v,
                                         .out = out,
                                         .lse = lse,
                                         .dout = dout,
                                         .dq = dq,
                                         .dk = dk,
                                         .dv = dv,
                                         .scale = 1.0f,
                                         .scratch = scratch};
    rates.attention_flops =
        static_cast<double>(Cost(forward).flops + Cost(backward).flops) / Best([&] {
          kernels_.attention_forward(stream_, forward);
          kernels_.attention_backward(stream_, backward);
        });
    return absl::OkStatus();
  }

  // Four streams read and three written, of arrays far larger than caches: the optimizer's update,
  // which is what most bytes of a step go to.
  absl::Status Memory(MachineRates& rates) {
    constexpr int64_t kElements = int64_t{12} << 20;
    ASSIGN_OR_RETURN(const TensorView param, Make(kElements / 256, 256));
    ASSIGN_OR_RETURN(const TensorView grad, Make(kElements / 256, 256));
    ASSIGN_OR_RETURN(const TensorView m, Make(kElements / 256, 256));
    ASSIGN_OR_RETURN(const TensorView v, Make(kElements / 256, 256));
    const AdamWArgs args{.param = param, .grad = grad, .m = m, .v = v, .lr = 1e-3f};
    rates.memory_bytes =
        static_cast<double>(Cost(args).bytes) / Best([&] { kernels_.adamw(stream_, args); });
    return absl::OkStatus();
  }

  const KernelTable& kernels_ = *CpuBackend().kernels;
  ThreadPool pool_;
  InlineStream stream_;
  Arena arena_;
};

}  // namespace

absl::StatusOr<MachineRates> MeasureMachine(const LlamaConfig& model, int64_t tokens, int threads) {
  ASSIGN_OR_RETURN(Arena arena, Arena::Reserve(CpuBackend(), int64_t{1} << 40));
  MachineRates rates;
  RETURN_IF_ERROR(Bench(std::move(arena), threads).Measure(model, tokens, rates));
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
