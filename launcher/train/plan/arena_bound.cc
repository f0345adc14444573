#include "launcher/train/plan/arena_bound.h"

#include <algorithm>

#include "core/tensor/sharding.h"
#include "dist/slot_tree.h"

namespace blockstep {
namespace {

// State tensors of an entry, at most. As many buffers again hold its dW and its copies.
constexpr int64_t kStates = 4;

// Buffers of a dW that slot_exact keeps besides the first.
int64_t StackedBuffers(const TrainConfig& config, int ranks) {
  if (config.train.numerics != Numerics::kSlotExact) return 0;
  const int64_t slots = config.batch.slots;
  int depth = 1;
  for (int r = 0; r < ranks; ++r) {
    depth = std::max(depth, PlanStack(slots, SplitEvenly(slots, ranks, r)).depth);
  }
  return depth - 1;
}

int64_t At(const PhasePlan& phase, MemoryClass c) { return phase.carved[static_cast<size_t>(c)]; }

template <typename Of>
int64_t Most(const RankPlan& plan, Of of) {
  int64_t most = 0;
  for (const PhasePlan& phase : plan.phases) most = std::max<int64_t>(most, of(phase));
  return most;
}

}  // namespace

int64_t ArenaBound(const RankPlan& plan, const PhasePlan& everything, const TensorTable& table,
                   const TrainConfig& config, int ranks) {
  const int64_t stacked = StackedBuffers(config, ranks);
  const auto stacks = [&](const PhasePlan& p) { return stacked * At(p, MemoryClass::kGradients); };
  const auto probes = [&](const PhasePlan& p) {
    return At(p, MemoryClass::kSlotProbe) - stacks(p);
  };
  int64_t bytes = 0;
  for (int i = 0; i < static_cast<int>(MemoryClass::kCount); ++i) {
    const auto c = static_cast<MemoryClass>(i);
    const int64_t most = Most(plan, [c](const PhasePlan& p) { return At(p, c); });
    const bool of_all = c == MemoryClass::kActivations || c == MemoryClass::kCommunication;
    bytes += c == MemoryClass::kSlotProbe ? Most(plan, stacks) + Most(plan, probes)
             : of_all                     ? std::max(most, At(everything, c))
                                          : most;
  }
  for (const TensorInfo& t : table.tensors) {
    bytes += (2 * kStates + stacked) * kArenaAlignment +
             2 * kStates * QuantumRows(t.cols) * t.cols * DTypeSize(DType::kF32);
  }
  return bytes;
}

}  // namespace blockstep
