// What a coordinator tells ranks, and what a step tells it back: plain structs; the wire form is
// proto/coordinator.proto.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/step/active_set.h"

namespace blockstep {

enum class DirectiveKind : uint8_t {
  kTrain,  // every step of [from, through] trains sets[group]
  kSweep,  // one step, no update: each set in turn is a pass over the step's slots, for its norms
};

struct Directive {
  DirectiveKind kind = DirectiveKind::kTrain;
  int64_t from = 0;     // first step
  int64_t through = 0;  // last step
  int64_t phase = 0;    // counts switches: a change drops all optimizer state and step counts
  // kTrain: one active set per group of the grid. kSweep: the passes, for every group.
  std::vector<ActiveSet> sets;
  // Probes are drawn per step from these whole tensors, `probes_per_step` of them, by counter-based
  // RNG, the same on every rank; empty: no probes.
  std::vector<int> probe_candidates;
  int probes_per_step = 0;
  std::string label;  // for people: "layer 3"

  uint64_t Hash() const;  // over every field but label
};

// The active set of `group` at `step` of a train directive: its set plus that step's probes.
ActiveSet ActiveSetFor(const Directive& directive, int group, int64_t step, uint64_t seed,
                       const TensorTable& table);

struct TensorNorm {
  int tensor = 0;
  Role role = Role::kTrain;
  double squared_norm = 0;  // of the averaged gradient over the entry's rows (all ranks)
  int64_t elements = 0;
  // (optional) Of Adam's direction M/sqrt(V + eps) after the step's update, where the entry has
  // moments (core/ops/optimizer.h); < 0: not measured.
  double adam_squared_norm = -1;
};

struct StepReport {
  int64_t step = 0;
  double loss_sum = 0;  // over all tokens of the step, all ranks
  int64_t tokens = 0;
  int64_t nonfinite = 0;          // > 0: the step wrote nothing
  std::vector<TensorNorm> norms;  // of every entry, train and probe
};

// Directives of a run that ends before `total_steps`.
std::vector<Directive> TruncateAt(int64_t total_steps, std::vector<Directive> directives);

// Where directives come from and reports go to: the gRPC client, or a policy in process.
class DirectiveSource {
 public:
  virtual ~DirectiveSource() = default;
  // The directive that covers `step`, waiting for it up to the source's grace. UNAVAILABLE: the
  // coordinator is gone; FAILED_PRECONDITION: it refused this rank.
  virtual absl::StatusOr<Directive> Await(int64_t step) = 0;
  // The same without waiting: null if it has not arrived. Valid until the next call. What it has
  // given stands: Await gives it too, even when the coordinator refuses this rank in between.
  virtual const Directive* TryAwait(int64_t step) = 0;
  // Called by the leader of a group, once per step; returns at once.
  virtual absl::Status Report(const StepReport& report) = 0;
};

}  // namespace blockstep
