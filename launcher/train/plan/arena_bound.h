// How much a run may carve where its policy takes active sets that no plan lists one by one.
#pragma once

#include "launcher/train/plan/memory_plan.h"

namespace blockstep {

// Bytes of the one reservation that no set needs more of, given the planned phases and one in which
// everything learns. Each class is at its largest in a planned phase, but for what is kept for
// backward and staged for reductions, which is largest where everything learns, and for stacks of
// dW and probes, each of which is at its largest in another phase. A set of more tensors may be
// rounded up more often, and more of its quanta may fall to this rank.
int64_t ArenaBound(const RankPlan& plan, const PhasePlan& everything, const TensorTable& table,
                   const TrainConfig& config, int ranks);

}  // namespace blockstep
