// Speed of the ops of llama 60m (C 512, I 1376, V 32000, 8 heads of 64, 8 slots of 256 tokens)
// beside the multiply-add peak of this machine, measured between them since shared machines drift.
//   op_bench [threads] [part of a name]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include "core/backends/backends.h"
#include "core/device/arena.h"
#include "tests/bench/peak.h"

namespace blockstep {
namespace {

constexpr int64_t kTokens = 2048, kHidden = 512, kInner = 1376, kVocab = 32000, kChunk = 256;

// Processor time of all threads: on a shared machine a call loses its core now and then, and a
// share of peak by the clock would measure the neighbours.
double CpuSeconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class Bench {
 public:
  Bench(int threads, const char* filter)
      : pool_(threads),
        filter_(filter),
        arena_(Arena::Reserve(CpuBackend(), int64_t{2} << 30).value()),
        stream_(CpuBackend().device.new_compute_stream("bench", &pool_, 0)) {}

  Stream& stream() { return *stream_; }
  int threads() const { return pool_.threads(); }

  TensorView Matrix(int64_t rows, int64_t cols, float scale = 1.0f) {
    void* data = arena_.Allocate(MemoryClass::kWorkspace, "bench", rows * cols * 4).value();
    const TensorView v = TensorView::Of(data, DType::kF32, rows, cols);
    for (int64_t i = 0; i < v.size(); ++i) {
      v.f32()[i] = scale * (static_cast<float>((i * 2654435761u >> 13) % 2001) * 1e-3f - 1.0f);
    }
    return v;
  }
  Arena::Mark mark() const { return arena_.GetMark(); }
  void Release(Arena::Mark mark) { arena_.ReleaseTo(mark); }
  void* Scratch(int64_t bytes) {
    return arena_.Allocate(MemoryClass::kWorkspace, "scratch", bytes).value();
  }

  bool Wants(const std::string& name) const { return name.find(filter_) != std::string::npos; }

  // Best time of about a second; the share of peak is by processor time, the median over calls,
  // each against the peak measured just before and after it.
  void Time(const std::string& name, double flops, double bytes, const std::function<void()>& op) {
    if (!Wants(name)) return;
    op();
    double best = 1e9;
    std::vector<double> shares;
    const double end = Now() + 1.0;
    for (int i = 0; i < 5 || Now() < end; ++i) {
      const double before = flops > 0 ? Peak() : 0;
      const double begin = Now(), begin_cpu = CpuSeconds();
      op();
      const double cpu = CpuSeconds() - begin_cpu;
      best = std::min(best, Now() - begin);
      if (flops > 0) shares.push_back(flops / cpu / ((before + Peak()) / 2));
    }
    std::printf("%-32s %9.3f ms", name.c_str(), best * 1e3);
    if (flops > 0) {
      std::nth_element(shares.begin(), shares.begin() + shares.size() / 2, shares.end());
      std::printf("  %7.1f GF/s  %5.1f %% of peak", flops / best / 1e9,
                  100 * shares[shares.size() / 2]);
    }
    if (bytes > 0) std::printf("  %7.1f GB/s", bytes / best / 1e9);
    std::printf("\n");
    std::fflush(stdout);
  }

 private:
  // FLOP per processor second.
  double Peak() {
    const double begin = CpuSeconds();
    const double flops = RunPeak(pool_);
    return flops / (CpuSeconds() - begin);
  }

  ThreadPool pool_;
  std::string filter_;
  Arena arena_;
  std::unique_ptr<Stream> stream_;
};

const KernelTable& Kernels() { return *CpuBackend().kernels; }

// forward X W^T, dX = dY W, dW = dY^T X
void Linear(Bench& bench, const char* name, int64_t tokens, int64_t in, int64_t out) {
  const auto mark = bench.mark();
  const TensorView x = bench.Matrix(tokens, in), w = bench.Matrix(out, in),
                   y = bench.Matrix(tokens, out);
  const std::string shape =
      std::string(name) + " " + std::to_string(in) + "x" + std::to_string(out);
  const MatmulArgs forward = {.a = x, .b = w, .d = y, .trans_b = Transpose::kYes};
  const MatmulArgs dx = {.a = y, .b = w, .d = x};
  const MatmulArgs dw = {.a = y, .b = x, .d = w, .trans_a = Transpose::kYes};
  const double flops = static_cast<double>(Cost(forward).flops);
  bench.Time(shape + " fwd", flops, 0, [&] { Kernels().matmul(bench.stream(), forward); });
  bench.Time(shape + " dX", flops, 0, [&] { Kernels().matmul(bench.stream(), dx); });
  bench.Time(shape + " dW", flops, 0, [&] { Kernels().matmul(bench.stream(), dw); });
  MatmulArgs dw_add = dw;
  dw_add.accumulate = Accumulate::kAdd;
  bench.Time(shape + " dW +=", flops, 0, [&] { Kernels().matmul(bench.stream(), dw_add); });
  for (Transpose trans : {Transpose::kYes, Transpose::kNo}) {
    const std::string label = shape + (trans == Transpose::kYes ? " fwd packed" : " dX packed");
    if (!bench.Wants(label)) continue;
    PackWeightArgs pack = {.b = w, .trans_b = trans};
    pack.out = bench.Scratch(Kernels().packed_bytes(pack));
    Kernels().pack_weight(bench.stream(), pack);
    const bool is_forward = trans == Transpose::kYes;
    const PackedWeight packed = {pack.out, is_forward ? in : out, is_forward ? out : in};
    MatmulArgs args = is_forward ? forward : dx;
    args.packed_b = packed;
    bench.Time(label, flops, 0, [&] { Kernels().matmul(bench.stream(), args); });
    bench.Time(shape + (is_forward ? " pack fwd" : " pack dX"), 0, 8.0 * w.size(),
               [&] { Kernels().pack_weight(bench.stream(), pack); });
  }
  bench.Release(mark);
}

void Attention(Bench& bench) {
  const auto mark = bench.mark();
  const AttentionShape s = {
      .slots = 8, .q_len = 256, .kv_len = 256, .heads = 8, .kv_heads = 8, .head_dim = 64};
  TensorView t[8];
  for (TensorView& v : t) v = bench.Matrix(kTokens, kHidden);
  void* stats = bench.Scratch(Kernels().attention_stats_bytes(s));
  void* scratch = bench.Scratch(Kernels().attention_scratch_bytes(s, bench.threads()));
  const AttentionForwardArgs f = {.shape = s,
                                  .q = t[0],
                                  .k = t[1],
                                  .v = t[2],
                                  .out = t[3],
                                  .stats = stats,
                                  .scale = 0.125f,
                                  .scratch = scratch};
  const AttentionBackwardArgs b = {.shape = s,
                                   .q = t[0],
                                   .k = t[1],
                                   .v = t[2],
                                   .out = t[3],
                                   .dout = t[4],
                                   .dq = t[5],
                                   .dk = t[6],
                                   .dv = t[7],
                                   .stats = stats,
                                   .scale = 0.125f,
                                   .scratch = scratch};
  bench.Time("attention forward", Cost(f).flops, 0,
             [&] { Kernels().attention_forward(bench.stream(), f); });
  bench.Time("attention backward", Cost(b).flops, 0,
             [&] { Kernels().attention_backward(bench.stream(), b); });
  bench.Release(mark);
}

void RowOps(Bench& bench) {
  const auto mark = bench.mark();
  const TensorView x = bench.Matrix(kTokens, kHidden), y = bench.Matrix(kTokens, kHidden),
                   z = bench.Matrix(kTokens, kHidden), w = bench.Matrix(1, kHidden),
                   rstd = bench.Matrix(1, kTokens), dw = bench.Matrix(1, kHidden);
  const double n = 4.0 * kTokens * kHidden;
  bench.Time("rms norm forward", 0, 2 * n, [&] {
    Kernels().rms_norm_forward(bench.stream(), {.x = x, .weight = w, .y = y, .rstd = rstd});
  });
  bench.Time("rms norm + residual forward", 0, 4 * n, [&] {
    Kernels().rms_norm_forward(bench.stream(),
                               {.x = x, .delta = z, .sum = x, .weight = w, .y = y, .rstd = rstd});
    Kernels().fill(bench.stream(), {.dst = x, .value = 0.5f});
  });
  bench.Time("rms norm backward, dweight", 0, 5 * n, [&] {
    Kernels().rms_norm_backward(
        bench.stream(), {.dy = y, .s = z, .rstd = rstd, .weight = w, .dx = x, .dweight = dw});
  });
  const TensorView angles = bench.Matrix(256, 32);
  bench.Time("rope (q)", 0, 2 * n, [&] {
    Kernels().rope(
        bench.stream(),
        {.x = y, .heads = 8, .head_dim = 64, .cos = angles, .sin = angles, .tokens_per_slot = 256});
  });
  const TensorView gate = bench.Matrix(kTokens, kInner, 4), up = bench.Matrix(kTokens, kInner),
                   out = bench.Matrix(kTokens, kInner), dgate = bench.Matrix(kTokens, kInner),
                   dup = bench.Matrix(kTokens, kInner);
  const double m = 4.0 * kTokens * kInner;
  bench.Time("swiglu forward", 0, 3 * m, [&] {
    Kernels().swiglu_forward(bench.stream(), {.gate = gate, .up = up, .out = out});
  });
  bench.Time("swiglu backward", 0, 5 * m, [&] {
    Kernels().swiglu_backward(bench.stream(),
                              {.gate = gate, .up = up, .dout = out, .dgate = dgate, .dup = dup});
  });
  const TensorView logits = bench.Matrix(kChunk, kVocab, 4);
  std::vector<int32_t> targets(kChunk, 77);
  std::vector<float> loss(kChunk);
  bench.Time("cross-entropy, 256 tokens", 0, 2.0 * logits.bytes(), [&] {
    Kernels().cross_entropy(
        bench.stream(),
        {.logits = logits, .targets = targets.data(), .loss = loss.data(), .grad_scale = 1e6f});
  });
  std::vector<int32_t> ids(kTokens);
  for (int64_t i = 0; i < kTokens; ++i) ids[i] = static_cast<int32_t>(i * 7919 % kVocab);
  const TensorView table = bench.Matrix(kVocab, kHidden);
  bench.Time("embedding forward", 0, 2 * n, [&] {
    Kernels().embedding_forward(bench.stream(), {.table = table, .ids = ids.data(), .out = x});
  });
  bench.Time("embedding backward +=", 0, 3 * n, [&] {
    Kernels().embedding_backward(
        bench.stream(),
        {.dout = y, .ids = ids.data(), .dtable = table, .accumulate = Accumulate::kAdd});
  });
  bench.Release(mark);
}

void FlatOps(Bench& bench) {
  for (int64_t rows : {6177, 65536}) {  // a block of 3.16 M elements, and 33.6 M
    const auto mark = bench.mark();
    TensorView t[4];
    for (TensorView& v : t) v = bench.Matrix(rows, kHidden, 0.1f);
    for (int64_t i = 0; i < t[3].size(); ++i) t[3].f32()[i] *= t[3].f32()[i];
    const std::string size = " " + std::to_string(t[0].size() / 1000) + "k";
    const double bytes = static_cast<double>(t[0].bytes());
    bench.Time("adamw" + size, 0, 7 * bytes, [&] {
      Kernels().adamw(bench.stream(),
                      {.param = t[0], .grad = t[1], .m = t[2], .v = t[3], .lr = 1e-6f});
    });
    ExactSum sum;
    bench.Time("squared norm" + size, 0, bytes, [&] {
      sum = {};
      Kernels().squared_norm(bench.stream(), {.x = t[1], .sum = &sum});
    });
    bench.Time("add" + size, 0, 3 * bytes,
               [&] { Kernels().add(bench.stream(), {.src = t[1], .dst = t[2]}); });
    bench.Time("fill" + size, 0, bytes, [&] { Kernels().fill(bench.stream(), {.dst = t[2]}); });
    bench.Release(mark);
  }
}

}  // namespace
}  // namespace blockstep

int main(int argc, char** argv) {
  using namespace blockstep;
  Bench bench(argc > 1 ? std::atoi(argv[1]) : 1, argc > 2 ? argv[2] : "");
  Linear(bench, "attention", kTokens, kHidden, kHidden);
  Linear(bench, "gate|up", kTokens, kHidden, kInner);
  Linear(bench, "down", kTokens, kInner, kHidden);
  Linear(bench, "head", kChunk, kHidden, kVocab);
  Attention(bench);
  RowOps(bench);
  FlatOps(bench);
}
