#include "core/ops/cpu/loops/loops.h"

namespace blockstep::cpu {

int64_t AttentionScratchFloats(int64_t kv_len, int64_t head_dim) {
  const int64_t width = (head_dim + 15) / 16 * 16;
  const int64_t kv = (kv_len + kAttentionTile - 1) / kAttentionTile * kAttentionTile * width;
  // Backward: K^T, V^T, K, dK, dV of the slot; q, dout, dq, two score tiles.
  return 5 * kv + 3 * kAttentionTile * width + 2 * kAttentionTile * kAttentionTile;
}

LoopSets AvailableLoops() {
  LoopSets r = {{&baseline::kLoops, nullptr, nullptr}, 1};
#if defined(__x86_64__)
  // x86-64-v3 and -v4 as the compiler understands them in -march.
  const bool has_v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  const bool has_v4 = has_v3 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (has_v3) r.sets[r.count++] = &v3::kLoops;
  if (has_v4) r.sets[r.count++] = &v4::kLoops;
#endif
  return r;
}

const CpuLoops& Loops() {
  static const CpuLoops& best = []() -> const CpuLoops& {
    const LoopSets all = AvailableLoops();
    return *all.sets[all.count - 1];
  }();
  return best;
}

}  // namespace blockstep::cpu
