#include "launcher/machine/heap.h"

#include <malloc.h>

#include "core/base/check.h"

namespace blockstep {
namespace {

constexpr int kArenas = 2, kLargeBytes = 256 << 10;

}  // namespace

void LimitHeap() {
  CHECK_EQ(mallopt(M_ARENA_MAX, kArenas), 1);
  // Either of the two also ends their adjustment by what was freed.
  CHECK_EQ(mallopt(M_MMAP_THRESHOLD, kLargeBytes), 1);
  CHECK_EQ(mallopt(M_TRIM_THRESHOLD, kLargeBytes), 1);
}

}  // namespace blockstep
