// The multiply-add rate of this machine with the threads of a pool, for shares of peak.
#pragma once

#include "core/base/thread_pool.h"

namespace blockstep {

// Independent fp32 fused multiply-adds, under a millisecond on every thread of the pool; returns
// how many FLOPs that were.
double RunPeak(ThreadPool& pool);

}  // namespace blockstep
