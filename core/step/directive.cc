#include "core/step/directive.h"

#include <algorithm>

#include "core/base/check.h"
#include "core/base/philox.h"
#include "core/base/sha256.h"
#include "core/base/str.h"

namespace blockstep {

uint64_t Directive::Hash() const {
  std::string text = Cat(static_cast<int>(kind), " ", from, " ", through, " ", phase, "\n");
  for (const ActiveSet& set : sets) text += set.Text() + "--\n";
  for (int tensor : probe_candidates) text += Cat(tensor, " ");
  text += Cat("probes ", probes_per_step);
  return Hash64(text);
}

ActiveSet ActiveSetFor(const Directive& directive, int group, int64_t step, uint64_t seed,
                       const TensorTable& table) {
  CHECK_LT(static_cast<size_t>(group), directive.sets.size());
  ActiveSet set = directive.sets[group];
  std::vector<int> left = directive.probe_candidates;
  for (int i = 0; i < directive.probes_per_step && !left.empty(); ++i) {
    const uint64_t word = DrawU64(seed, RandomUse::kProbe, static_cast<uint32_t>(step), i);
    const size_t pick = UniformBelow(word, left.size());
    set.entries.push_back(WholeTensor(table, left[pick], Role::kProbe));
    left.erase(left.begin() + static_cast<int64_t>(pick));
  }
  std::sort(set.entries.begin(), set.entries.end(), [](const ActiveEntry& a, const ActiveEntry& b) {
    return a.tensor != b.tensor ? a.tensor < b.tensor : a.rows.begin < b.rows.begin;
  });
  return set;
}

std::vector<Directive> TruncateAt(int64_t total_steps, std::vector<Directive> directives) {
  std::erase_if(directives, [&](const Directive& d) { return d.from >= total_steps; });
  if (!directives.empty()) {
    directives.back().through = std::min(directives.back().through, total_steps - 1);
  }
  return directives;
}

}  // namespace blockstep
