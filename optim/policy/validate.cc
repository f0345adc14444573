#include "optim/policy/validate.h"

#include <algorithm>

#include "core/base/nearest.h"
#include "core/base/status.h"
#include "core/tensor/sharding.h"
#include "optim/policy/blockllm_select.h"
#include "optim/policy/blocks.h"

namespace blockstep {
namespace {

class Findings {
 public:
  template <typename... Parts>
  void Require(bool ok, const Parts&... parts) {
    if (!ok) text_ += Cat(text_.empty() ? "" : "\n", parts...);
  }
  absl::Status status() const {
    return text_.empty() ? absl::OkStatus() : absl::InvalidArgumentError(text_);
  }

 private:
  std::string text_;
};

void CheckSplit(const PolicyConfig& config, const TensorTable& table, Findings& findings) {
  const int split = config.embedding_split;
  findings.Require(split >= 1, "embedding_split: ", split, ", wanted >= 1");
  findings.Require(split <= 1 || config.embedding == TensorPolicy::kAsBlocks,
                   "embedding_split: ", split, ", but only `embedding: as_blocks` can be split");
  for (size_t i = 0; i < table.tensors.size(); ++i) {
    const ModelPart part = PartOf(table, static_cast<int>(i));
    if (part != ModelPart::kEmbedding && part != ModelPart::kHead) continue;
    const TensorInfo& t = table.tensors[i];
    const int64_t grain = EntryRows(t.cols);
    const int64_t most = std::max<int64_t>(1, t.rows / grain);
    findings.Require(split <= most, "embedding_split: ", split, ", wanted <= ", most, ": ", t.name,
                     " has ", t.rows, " rows, split on multiples of ", grain);
  }
}

void CheckBadam(const PolicyConfig& config, const TensorTable& table, Findings& findings) {
  findings.Require(config.block_steps >= 1, "block_steps: ", config.block_steps, ", wanted >= 1");
  CheckSplit(config, table, findings);
  if (config.embedding_split >= 1) {
    findings.Require(!BadamBlocks(config, table).empty(), "embedding, final_norm: leave no block");
  }
}

void CheckBlockLlm(const PolicyConfig& config, const TensorTable& table, Findings& findings) {
  findings.Require(config.sparsity >= 0 && config.sparsity < 1, "sparsity: ", config.sparsity,
                   ", wanted inside [0, 1)");
  findings.Require(config.patience >= 1, "patience: ", config.patience, ", wanted >= 1");
  findings.Require(config.probes_per_step >= 0, "probes_per_step: ", config.probes_per_step,
                   ", wanted >= 0");
  findings.Require(config.embedding_split == 1, "embedding_split: ", config.embedding_split,
                   ", but policy blockllm selects whole tensors, wanted 1");
  findings.Require(config.mask == BlockLlmMask::kNone,
                   "mask: this version selects whole tensors, wanted none");
  findings.Require(config.sweep_elements >= 0, "sweep_elements: ", config.sweep_elements,
                   ", wanted >= 0");
  const TensorInfo* largest = nullptr;
  for (size_t i = 0; i < table.tensors.size(); ++i) {
    if (TensorPolicyOf(config, table, static_cast<int>(i)) != TensorPolicy::kAsBlocks) continue;
    const TensorInfo& t = table.tensors[i];
    if (largest == nullptr || t.size() > largest->size()) largest = &t;
  }
  findings.Require(largest != nullptr, "embedding, final_norm: leave no tensor to select");
  if (largest != nullptr && config.sweep_elements > 0) {
    findings.Require(config.sweep_elements >= largest->size(),
                     "sweep_elements: ", config.sweep_elements,
                     ", wanted 0 or >= ", largest->size(), ", the size of ", largest->name);
  }
}

void CheckScript(const PolicyConfig& config, const TensorTable& table, Findings& findings) {
  int64_t steps = 0;
  for (size_t i = 0; i < config.script.size(); ++i) {
    const ScriptedPhase& phase = config.script[i];
    findings.Require(phase.steps >= 1, "script: phase ", i, " has ", phase.steps,
                     " steps, wanted >= 1");
    findings.Require(!phase.set.empty(), "script: phase ", i, " has no entry");
    const absl::Status status = Validate(phase.set, table);
    findings.Require(status.ok(), "script: phase ", i, ": ", status.message());
    steps += std::max<int64_t>(0, std::min(phase.steps, config.total_steps - steps));
  }
  findings.Require(steps >= config.total_steps, "script: has ", steps, " steps, total_steps wants ",
                   config.total_steps);
}

}  // namespace

absl::Status Validate(const PolicyConfig& config, const TensorTable& table) {
  Findings findings;
  findings.Require(config.total_steps >= 1, "total_steps: ", config.total_steps, ", wanted >= 1");
  findings.Require(config.groups >= 1, "groups: ", config.groups, ", wanted >= 1");
  findings.Require(config.lag >= 0, "lag: ", config.lag, ", wanted >= 0");
  if (config.name == "full") {
    findings.Require(
        config.embedding != TensorPolicy::kFrozen && config.final_norm != TensorPolicy::kFrozen,
        "embedding, final_norm: frozen, but policy full trains every tensor");
  } else if (config.name == "badam") {
    CheckBadam(config, table, findings);
  } else if (config.name == "blockllm") {
    CheckBlockLlm(config, table, findings);
  } else if (config.name == "scripted") {
    CheckScript(config, table, findings);
  } else {
    findings.Require(false, "policy \"", config.name, "\" is unknown, wanted one of ",
                     KnownNames(config.name, KnownPolicies()));
  }
  return findings.status();
}

}  // namespace blockstep
