#include "core/base/check.h"
#include "core/base/status.h"
#include "optim/policy/badam.h"
#include "optim/policy/blockllm.h"
#include "optim/policy/fixed.h"
#include "optim/policy/policy.h"
#include "optim/policy/validate.h"

namespace blockstep {

std::vector<std::string> KnownPolicies() { return {"full", "badam", "blockllm", "scripted"}; }

bool NeedsAdamNorms(const PolicyConfig& config) {
  return config.name == "blockllm" &&
         (config.mode == BlockLlmMode::kPaper || config.score == BlockLlmScore::kAdam);
}

absl::StatusOr<std::unique_ptr<Policy>> MakePolicy(const PolicyConfig& config,
                                                   const TensorTable& table) {
  RETURN_IF_ERROR(Validate(config, table));
  if (config.name == "full") return std::make_unique<FullPolicy>(config, table);
  if (config.name == "badam") return std::make_unique<BadamPolicy>(config, table);
  if (config.name == "blockllm") return std::make_unique<BlockLlmPolicy>(config, table);
  CHECK(config.name == "scripted");
  return std::make_unique<ScriptedPolicy>(config);
}

}  // namespace blockstep
