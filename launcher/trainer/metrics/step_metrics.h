// The numbers of one step, as every writer gets them.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace blockstep {

struct StepMetrics {
  int64_t step = 0;  // that has just been done
  // Ordered name -> value: "loss", "lr", "tokens_per_second", "grad_norm", "eval/loss".
  std::vector<std::pair<std::string, double>> values;
  std::string block;  // label of the active set: "layer 3"
};

}  // namespace blockstep
