#include "core/ops/cross_entropy.h"

#include <cmath>

#include "core/ops/cpu/grid.h"
#include "core/ops/cpu/kernels.h"
#include "core/ops/cpu/loops/loops.h"

namespace blockstep::cpu {
namespace {

void Row(const CpuLoops& loops, const CrossEntropyArgs& args, int64_t i) {
  float* x = args.logits.f32(i);
  const int64_t vocab = args.logits.cols;
  const int32_t target = args.targets[i];
  const bool grad = args.grad == CrossEntropyGrad::kInPlace;
  if (target < 0) {
    args.loss[i] = 0.0f;
    if (grad) loops.fill(x, 0.0f, vocab);
    return;
  }
  CHECK_LT(target, vocab);
  const float chosen = x[target];
  const float max = loops.max(x, vocab);
  const float sum = loops.exp_sum(x, max, grad ? x : nullptr, vocab);
  // In double: log(sum) and the distance to the maximum nearly cancel for a confident prediction.
  args.loss[i] = static_cast<float>(std::log(static_cast<double>(sum)) +
                                    (static_cast<double>(max) - static_cast<double>(chosen)));
  if (!grad) return;
  loops.scale(x, args.grad_scale / sum, vocab);
  x[target] -= args.grad_scale;
}

}  // namespace

void CrossEntropy(Stream& stream, const CrossEntropyArgs& args) {
  CheckShape(args.logits, args.logits.rows, args.logits.cols);
  OnHost(stream).Run([args, pool = stream.pool()] {
    ForRows(*pool, args.logits.rows, args.logits.cols, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) Row(Loops(), args, i);
    });
  });
}

}  // namespace blockstep::cpu
