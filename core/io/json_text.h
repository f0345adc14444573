// JSON that comes from outside: a model's config.json, the header of a safetensors file.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "absl/status/statusor.h"

namespace blockstep {

// Deeper than anything that Hugging Face writes, and far from what a recursive reader's stack
// bears.
inline constexpr int kJsonDepth = 64;

// INVALID_ARGUMENT, without the file's name: not JSON (with the byte), nested deeper than
// kJsonDepth, or a key twice in one object, of which other readers might take the other one.
absl::StatusOr<nlohmann::json> ParseJson(std::string_view text);

}  // namespace blockstep
