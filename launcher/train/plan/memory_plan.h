// What a run will need, found by running it: the real Session and StepEngine on the null backend,
// one step of every worst phase of the policy. Addresses but no memory are reserved, so a model far
// larger than this machine is planned in seconds.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "core/backends/backends.h"
#include "core/device/arena.h"
#include "core/step/directive.h"
#include "dist/communicator.h"
#include "launcher/config/train_config.h"
#include "model/llama_config.h"

namespace blockstep {

using ClassBytes = std::array<int64_t, static_cast<size_t>(MemoryClass::kCount)>;
int64_t Sum(const ClassBytes& bytes);

struct PhasePlan {
  std::string label;
  ClassBytes bytes{};   // while the phase lasts
  ClassBytes carved{};  // of them, from the one reservation
  CommBytes sent;       // by this rank in one step
  OpCounters ops;       // of this rank in one step
};

struct RankPlan {
  int rank = 0;
  std::vector<PhasePlan> phases;
  size_t worst = 0;  // the phase with the most bytes
  // Each class by itself, over all phases: what the arena's high-water marks are compared with.
  ClassBytes peak{};
  // Of the one reservation: the most that is carved from it at a time, or a bound on that where the
  // policy may take sets that are not planned one by one.
  int64_t arena = 0;
  int64_t total() const { return Sum(phases[worst].bytes); }
};

struct PlanShape {
  int ranks = 1;
  int threads = 1;     // of a rank: scratch is per thread
  int group_size = 0;  // ranks that weights are sharded over; 0: all
};

// PlanShape::group_size by `placement`, where a machine has `machine_ranks`. INVALID_ARGUMENT: it
// does not divide the number of ranks.
absl::StatusOr<int> GroupSizeOf(const TrainConfig& config, int ranks, int machine_ranks);

// The worst phases of the configured policy.
absl::StatusOr<RankPlan> PlanRank(const TrainConfig& config, const LlamaConfig& model,
                                  const PlanShape& shape, int rank);
// Given phases instead; each directive covers one step, in order from step 0.
absl::StatusOr<RankPlan> PlanRank(const TrainConfig& config, const LlamaConfig& model,
                                  const PlanShape& shape, int rank,
                                  const std::vector<Directive>& phases);

// Bytes of the one reservation of a rank that evaluates and does not train.
absl::StatusOr<int64_t> PlanEvaluation(const TrainConfig& config, const LlamaConfig& model,
                                       const PlanShape& shape, int rank);

}  // namespace blockstep
