#include "core/ops/reduce.h"

#include <mutex>

#include "core/ops/cpu/grid.h"
#include "core/ops/cpu/kernels.h"
#include "core/ops/cpu/loops/loops.h"

namespace blockstep::cpu {
namespace {

constexpr int64_t kQuantum = 256, kQuantaPerItem = 128;

}  // namespace

void SquaredNorm(Stream& stream, const SquaredNormArgs& args) {
  CHECK(args.x.contiguous());
  stream.Run([args, pool = stream.pool()] {
    const int64_t size = args.x.size(), item_size = kQuantum * kQuantaPerItem;
    const float* x = args.x.f32();
    std::mutex mutex;  // integer sums: any order gives the same
    pool->ParallelFor(DivCeil(size, item_size), [&](int64_t item) {
      ExactSum sum;
      const int64_t end = std::min(size, (item + 1) * item_size);
      for (int64_t i = item * item_size; i < end; i += kQuantum) {
        sum.Add(Loops().squared_quantum(x + i, std::min(kQuantum, end - i)));
      }
      std::lock_guard lock(mutex);
      args.sum->Add(sum);
    });
  });
}

}  // namespace blockstep::cpu
