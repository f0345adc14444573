#include "optim/policy/fixed.h"

#include <algorithm>
#include <numeric>

#include "core/base/str.h"
#include "optim/policy/blocks.h"
#include "optim/policy/state_text.h"

namespace blockstep {

FullPolicy::FullPolicy(const PolicyConfig& config, const TensorTable& table) {
  std::vector<int> all(table.tensors.size());
  std::iota(all.begin(), all.end(), 0);
  directive_.through = config.total_steps - 1;
  directive_.sets.assign(config.groups, MakeSet(table, all));
  directive_.label = "all";
}

std::string FullPolicy::SaveState() const { return StateWriter(name()).Finish(); }

absl::Status FullPolicy::LoadState(std::string_view state) {
  return StateReader::Parse(state, name()).status();
}

std::vector<Directive> ScriptedPolicy::Start() {
  std::vector<Directive> directives;
  int64_t step = 0;
  for (const ScriptedPhase& phase : config_.script) {
    if (step >= config_.total_steps) break;
    Directive d;
    d.from = step;
    d.through = std::min(step + phase.steps, config_.total_steps) - 1;
    d.phase = static_cast<int64_t>(directives.size());
    d.sets.assign(config_.groups, phase.set);
    d.label = Cat("script ", d.phase);
    step = d.through + 1;
    directives.push_back(std::move(d));
  }
  return directives;
}

std::string ScriptedPolicy::SaveState() const { return StateWriter(name()).Finish(); }

absl::Status ScriptedPolicy::LoadState(std::string_view state) {
  return StateReader::Parse(state, name()).status();
}

std::vector<Directive> ScriptedPolicy::Continue(int64_t step, std::vector<Directive>) {
  std::vector<Directive> directives = Start();
  std::erase_if(directives, [&](const Directive& d) { return d.through < step; });
  return directives;
}

}  // namespace blockstep
