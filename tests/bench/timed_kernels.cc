#include "tests/bench/timed_kernels.h"

#include <chrono>
#include <ctime>

#include "core/backends/backends.h"

namespace blockstep {
namespace {

thread_local PartUses* target = nullptr;
thread_local int64_t head_side = 0;

Part PartOf(const MatmulArgs& a) {
  const int64_t k = a.trans_a == Transpose::kYes ? a.a.rows : a.a.cols;
  const bool dw = a.trans_a == Transpose::kYes, forward = a.trans_b == Transpose::kYes;
  // The rows of a head's dW may be a part of the vocabulary; its A still has all of it as stride.
  const bool head = forward ? a.d.cols == head_side : dw ? a.a.ld == head_side : k == head_side;
  if (dw) return head ? Part::kHeadDw : Part::kGemmDw;
  if (forward) return head ? Part::kHeadForward : Part::kGemmForward;
  return head ? Part::kHeadDx : Part::kGemmDx;
}
Part PartOf(const AttentionForwardArgs&) { return Part::kAttentionForward; }
Part PartOf(const AttentionBackwardArgs&) { return Part::kAttentionBackward; }
Part PartOf(const CrossEntropyArgs&) { return Part::kCrossEntropy; }
Part PartOf(const RmsNormForwardArgs&) { return Part::kNorm; }
Part PartOf(const RmsNormBackwardArgs&) { return Part::kNorm; }
Part PartOf(const RopeArgs&) { return Part::kRope; }
Part PartOf(const SwiGluForwardArgs&) { return Part::kSwiGlu; }
Part PartOf(const SwiGluBackwardArgs&) { return Part::kSwiGlu; }
Part PartOf(const EmbeddingForwardArgs&) { return Part::kEmbedding; }
Part PartOf(const EmbeddingBackwardArgs&) { return Part::kEmbedding; }
Part PartOf(const AdamWArgs&) { return Part::kOptimizer; }
Part PartOf(const AdamNormArgs&) { return Part::kOptimizer; }
Part PartOf(const SquaredNormArgs&) { return Part::kGradNorm; }
Part PartOf(const AddArgs&) { return Part::kAddCopyFill; }
Part PartOf(const CopyArgs&) { return Part::kAddCopyFill; }
Part PartOf(const FillArgs&) { return Part::kAddCopyFill; }

template <typename Args>
int64_t FlopsOf(const Args& args) {
  if constexpr (requires { Cost(args); }) return Cost(args).flops;
  return 0;
}

template <typename Args, Op<Args> KernelTable::*kOp>
void Timed(Stream& stream, const Args& args) {
  const Op<Args> op = CpuBackend().kernels->*kOp;
  if (target == nullptr) return op(stream, args);
  PartUse& use = (*target)[static_cast<size_t>(PartOf(args))];
  const double wall = WallSeconds(), cpu = CpuSeconds();
  op(stream, args);
  use.wall += WallSeconds() - wall;
  use.cpu += CpuSeconds() - cpu;
  use.flops += static_cast<double>(FlopsOf(args));
  ++use.calls;
}

KernelTable TimedTable() {
  using K = KernelTable;
  K table = *CpuBackend().kernels;
  table.embedding_forward = Timed<EmbeddingForwardArgs, &K::embedding_forward>;
  table.embedding_backward = Timed<EmbeddingBackwardArgs, &K::embedding_backward>;
  table.rms_norm_forward = Timed<RmsNormForwardArgs, &K::rms_norm_forward>;
  table.rms_norm_backward = Timed<RmsNormBackwardArgs, &K::rms_norm_backward>;
  table.matmul = Timed<MatmulArgs, &K::matmul>;
  table.rope = Timed<RopeArgs, &K::rope>;
  table.attention_forward = Timed<AttentionForwardArgs, &K::attention_forward>;
  table.attention_backward = Timed<AttentionBackwardArgs, &K::attention_backward>;
  table.swiglu_forward = Timed<SwiGluForwardArgs, &K::swiglu_forward>;
  table.swiglu_backward = Timed<SwiGluBackwardArgs, &K::swiglu_backward>;
  table.cross_entropy = Timed<CrossEntropyArgs, &K::cross_entropy>;
  table.adamw = Timed<AdamWArgs, &K::adamw>;
  table.adam_norm = Timed<AdamNormArgs, &K::adam_norm>;
  table.squared_norm = Timed<SquaredNormArgs, &K::squared_norm>;
  table.add = Timed<AddArgs, &K::add>;
  table.copy = Timed<CopyArgs, &K::copy>;
  table.fill = Timed<FillArgs, &K::fill>;
  return table;
}

}  // namespace

double WallSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double CpuSeconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

std::string_view PartName(Part part) {
  static constexpr std::string_view kNames[] = {"gemm forward",
                                                "gemm dX",
                                                "gemm dW",
                                                "head forward",
                                                "head dX",
                                                "head dW",
                                                "attention forward",
                                                "attention backward",
                                                "cross entropy",
                                                "norms",
                                                "rope",
                                                "swiglu",
                                                "embedding",
                                                "optimizer",
                                                "gradient norm",
                                                "add, copy, fill"};
  static_assert(std::size(kNames) == static_cast<size_t>(Part::kCount));
  return kNames[static_cast<size_t>(part)];
}

const Backend& TimedCpuBackend() {
  static const KernelTable table = TimedTable();
  static const Backend backend = [] {
    Backend b = CpuBackend();
    b.kernels = &table;
    return b;
  }();
  return backend;
}

void RecordParts(PartUses* uses, int64_t vocab) {
  target = uses;
  head_side = vocab;
}

}  // namespace blockstep
