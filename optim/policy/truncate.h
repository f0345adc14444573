// Directives of a run that ends before `total_steps`.
#pragma once

#include <algorithm>
#include <vector>

#include "core/step/directive.h"

namespace blockstep {

inline std::vector<Directive> TruncateAt(int64_t total_steps, std::vector<Directive> directives) {
  std::erase_if(directives, [&](const Directive& d) { return d.from >= total_steps; });
  if (!directives.empty()) {
    directives.back().through = std::min(directives.back().through, total_steps - 1);
  }
  return directives;
}

}  // namespace blockstep
