// The kernels of the cpu backend behind a clock: time, calls and FLOPs of a step by part. Works
// where the stream runs its work inline, on the thread that asked for it.
#pragma once

#include <array>
#include <string_view>

#include "core/device/backend.h"

namespace blockstep {

enum class Part {
  kGemmForward,
  kGemmDx,
  kGemmDw,
  kHeadForward,  // products with the vocabulary as a side
  kHeadDx,
  kHeadDw,
  kAttentionForward,
  kAttentionBackward,
  kCrossEntropy,
  kNorm,
  kRope,
  kSwiGlu,
  kEmbedding,
  kOptimizer,
  kGradNorm,
  kAddCopyFill,
  kCount,
};
std::string_view PartName(Part part);

struct PartUse {
  double wall = 0, cpu = 0;  // seconds; cpu: of all threads of the process
  double flops = 0;          // of products and attention
  int64_t calls = 0;
};
using PartUses = std::array<PartUse, static_cast<size_t>(Part::kCount)>;

double WallSeconds();
double CpuSeconds();  // of all threads of the process

// The cpu backend, timed. Calls of the thread that has set RecordParts add to its target; other
// threads' calls (communication) are passed on.
const Backend& TimedCpuBackend();
// `vocab` tells the head's products from the layers'. Null: stop.
void RecordParts(PartUses* target, int64_t vocab);

}  // namespace blockstep
