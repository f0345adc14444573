#include "core/ops/reduce.h"

#include <cmath>
#include <vector>

#include "core/ops/cpu/grid.h"
#include "core/ops/cpu/kernels.h"
#include "core/ops/cpu/loops/loops.h"

namespace blockstep::cpu {
namespace {

constexpr int64_t kQuantum = 256, kQuantaPerItem = 128;

// Adds quantum(first element, elements) of every quantum of `size` elements to *sum.
template <typename Quantum>
void SumQuanta(ThreadPool& pool, int64_t size, ExactSum* sum, Quantum&& quantum) {
  constexpr int64_t kItem = kQuantum * kQuantaPerItem;
  std::vector<ExactSum> parts(pool.threads());  // integer sums: any order gives the same
  pool.ParallelForWorker(DivCeil(size, kItem), [&](int64_t item, int worker) {
    const int64_t end = std::min(size, (item + 1) * kItem);
    for (int64_t i = item * kItem; i < end; i += kQuantum) {
      parts[worker].Add(quantum(i, std::min(kQuantum, end - i)));
    }
  });
  for (const ExactSum& part : parts) sum->Add(part);
}

}  // namespace

void SquaredNorm(Stream& stream, const SquaredNormArgs& args) {
  CHECK(args.x.contiguous());
  OnHost(stream).Run([args, pool = stream.pool()] {
    const float* x = args.x.f32();
    SumQuanta(*pool, args.x.size(), args.sum,
              [x](int64_t i, int64_t n) { return Loops().squared_quantum(x + i, n); });
  });
}

void AdamNorm(Stream& stream, const AdamNormArgs& args) {
  CheckShape(args.v, args.m.rows, args.m.cols);
  CHECK(args.m.contiguous() && args.v.contiguous());
  CHECK_GE(args.step, 1);
  OnHost(stream).Run([args, pool = stream.pool()] {
    const auto t = static_cast<double>(args.step);
    const AdamNormScalars s = {.m_scale = 1.0 / (1.0 - std::pow(double{args.beta1}, t)),
                               .v_scale = 1.0 / (1.0 - std::pow(double{args.beta2}, t)),
                               .eps = args.eps};
    const float *m = args.m.f32(), *v = args.v.f32();
    SumQuanta(*pool, args.m.size(), args.sum,
              [&](int64_t i, int64_t n) { return Loops().adam_quantum(s, m + i, v + i, n); });
  });
}

}  // namespace blockstep::cpu
