// The multiply-add rate of this machine with the threads of a pool, for shares of peak.
#pragma once

#include "core/base/thread_pool.h"

namespace blockstep {

// FLOP/s of independent fp32 fused multiply-adds over about 2 ms per thread.
double MeasurePeak(ThreadPool& pool);

}  // namespace blockstep
