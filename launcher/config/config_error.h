// What is wrong with a configuration, each with its location (file:line:column).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace blockstep {

struct ConfigError {
  std::string where;  // "run.txt:3:7" or "--set"; may be empty
  std::string text;   // "train.step: unknown field, did you mean train.steps?"
};

// INVALID_ARGUMENT: "<what>: 2 errors" and a line for each, up to a hundred.
absl::Status ErrorOf(std::string_view what, const std::vector<ConfigError>& errors);

}  // namespace blockstep
