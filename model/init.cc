#include "model/init.h"

#include <algorithm>

#include "core/base/check.h"
#include "core/base/philox.h"

namespace blockstep {

void InitRows(const TensorTable& table, int tensor, Range rows, const InitArgs& args, float* out) {
  const TensorInfo& info = table.tensors[tensor];
  CHECK_LE(0, rows.begin);
  CHECK_LE(rows.end, info.rows);
  const int64_t first = rows.begin * info.cols, count = rows.size() * info.cols;
  if (info.init == InitKind::kOnes) {
    std::fill_n(out, count, 1.0f);
    return;
  }
  // One draw gives the normals of elements 2j and 2j + 1.
  for (int64_t pair = first / 2; pair * 2 < first + count; ++pair) {
    const auto normal = NormalPair(Draw(args.seed, RandomUse::kInit, static_cast<uint32_t>(tensor),
                                        static_cast<uint64_t>(pair)));
    for (int side = 0; side < 2; ++side) {
      const int64_t at = pair * 2 + side - first;
      if (at >= 0 && at < count) out[at] = static_cast<float>(normal[side] * args.range);
    }
  }
}

}  // namespace blockstep
