#include "launcher/run/carry_policy.h"

#include <sstream>

#include "core/base/status.h"
#include "optim/policy/shifted.h"

namespace blockstep {
namespace {

std::string PolicyMaths(const TrainConfig& config) {
  std::istringstream all(MathsText(config));
  std::string text;
  for (std::string line; std::getline(all, line);) {
    if (line.starts_with("policy.")) text += line + "\n";
  }
  return text;
}

bool SameRowsGoOn(const Directive& first, const TrainerState& state) {
  if (first.kind != DirectiveKind::kTrain) return false;
  size_t train = 0;
  for (const ActiveEntry& entry : first.sets.front().entries) {
    if (entry.role != Role::kTrain) continue;
    if (train == state.counters.size()) return false;
    const EntryCounter& was = state.counters[train++];
    if (was.tensor != entry.tensor || was.rows != entry.rows) return false;
  }
  return train == state.counters.size();
}

}  // namespace

absl::StatusOr<std::string> CarryPolicy(const TrainConfig& config, const TensorTable& table,
                                        TrainerState& state) {
  ASSIGN_OR_RETURN(const PolicyConfig resolved, ResolvePolicy(config, table));
  ASSIGN_OR_RETURN(std::unique_ptr<Policy> policy, MakeShiftedPolicy(resolved, table));
  const absl::StatusOr<TrainConfig> was = ParseTrainConfig(state.config_text, "checkpoint", {});
  const bool same = was.ok() && PolicyMaths(*was) == PolicyMaths(config);
  if (same || (resolved.name != "scripted" && policy->LoadState(state.policy_state).ok())) {
    return std::string();
  }
  PolicyShift shift{.steps = state.step, .phases = state.phase};
  ASSIGN_OR_RETURN(policy, MakeShiftedPolicy(resolved, table, shift));
  std::vector<Directive> directives = policy->Start();
  const bool kept = SameRowsGoOn(directives.front(), state);
  if (!kept) {
    ++shift.phases;
    ASSIGN_OR_RETURN(policy, MakeShiftedPolicy(resolved, table, shift));
    directives = policy->Start();
  }
  state.policy_state = policy->SaveState();
  state.directives = std::move(directives);
  return Cat("policy state reset: incompatible (policy ", policy->name(), ", step ", state.step,
             "); optimizer state ", kept ? "kept: the same rows stay active" : "dropped");
}

}  // namespace blockstep
