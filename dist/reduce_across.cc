#include "core/base/status.h"
#include "dist/grad_strategy.h"

namespace blockstep {

void ReduceAcross(const GradReducerOptions& options, TensorView own, const std::string& name) {
  if (options.across == nullptr || own.size() == 0) return;
  Communicator& across = *options.across;
  const int groups = across.size();
  float* const data = own.f32();
  ReduceSegment sum{.in = data};
  GatherSegment whole{.base = data};
  for (int g = 0; g < groups; ++g) {
    const int64_t begin = SplitEvenly(own.size(), groups, g).begin;
    sum.offsets.push_back(begin);
    whole.offsets.push_back(begin * static_cast<int64_t>(sizeof(float)));
  }
  sum.offsets.push_back(own.size());
  whole.offsets.push_back(own.bytes());
  sum.out = data + sum.offsets[across.rank()];
  across.ReduceScatter({std::move(sum)}, "reduce across groups " + name);
  across.AllGather({std::move(whole)}, "share across groups " + name);
}

}  // namespace blockstep
