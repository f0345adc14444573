#include "optim/policy/full.h"

#include <numeric>

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

}  // namespace blockstep
