// The numbers of one step, as every writer gets them.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace blockstep {

struct StepMetrics {
  // Of a step: its index. Of an evaluation: how many steps are done. So numbers of one value of it
  // belong to the same weights.
  int64_t step = 0;
  // Ordered name -> value: "loss", "lr", "tokens_per_second", "grad_norm", "eval/loss".
  std::vector<std::pair<std::string, double>> values;
  std::string block;  // label of the active set: "layer 3"
};

}  // namespace blockstep
