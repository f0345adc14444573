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
  findings.Require(split >= 1, "embedding_split: expected >= 1, got ", split);
  findings.Require(split <= 1 || config.embedding == TensorPolicy::kAsBlocks,
                   "embedding_split: expected 1 unless `embedding: as_blocks`, got ", split);
  for (size_t i = 0; i < table.tensors.size(); ++i) {
    const ModelPart part = PartOf(table, static_cast<int>(i));
    if (part != ModelPart::kEmbedding && part != ModelPart::kHead) continue;
    const TensorInfo& t = table.tensors[i];
    const int64_t grain = EntryRows(t.cols);
    const int64_t most = std::max<int64_t>(1, t.rows / grain);
    findings.Require(split <= most, "embedding_split: expected <= ", most, ", got ", split, ": ",
                     t.name, " has ", t.rows, " rows, split on multiples of ", grain);
  }
}

void CheckBadam(const PolicyConfig& config, const TensorTable& table, Findings& findings) {
  findings.Require(config.block_steps >= 1, "block_steps: expected >= 1, got ", config.block_steps);
  CheckSplit(config, table, findings);
  if (config.embedding_split >= 1) {
    findings.Require(!BadamBlocks(config, table).empty(), "embedding, final_norm: leave no block");
  }
}

void CheckBlockLlm(const PolicyConfig& config, const TensorTable& table, Findings& findings) {
  findings.Require(config.sparsity >= 0 && config.sparsity < 1,
                   "sparsity: expected a value in [0, 1), got ", config.sparsity);
  findings.Require(config.patience >= 1, "patience: expected >= 1, got ", config.patience);
  findings.Require(config.probes_per_step >= 0, "probes_per_step: expected >= 0, got ",
                   config.probes_per_step);
  findings.Require(config.embedding_split == 1,
                   "embedding_split: expected 1 (policy blockllm selects whole tensors), got ",
                   config.embedding_split);
  findings.Require(config.mask == BlockLlmMask::kNone,
                   "mask: expected none (this version selects whole tensors)");
  findings.Require(config.sweep_elements >= 0, "sweep_elements: expected >= 0, got ",
                   config.sweep_elements);
  const TensorInfo* largest = nullptr;
  for (size_t i = 0; i < table.tensors.size(); ++i) {
    if (TensorPolicyOf(config, table, static_cast<int>(i)) != TensorPolicy::kAsBlocks) continue;
    const TensorInfo& t = table.tensors[i];
    if (largest == nullptr || t.size() > largest->size()) largest = &t;
  }
  findings.Require(largest != nullptr, "embedding, final_norm: leave no tensor to select");
  if (largest != nullptr && config.sweep_elements > 0) {
    findings.Require(config.sweep_elements >= largest->size(),
                     "sweep_elements: expected 0 or >= ", largest->size(), " (the size of ",
                     largest->name, "), got ", config.sweep_elements);
  }
}

void CheckScript(const PolicyConfig& config, const TensorTable& table, Findings& findings) {
  int64_t steps = 0;
  for (size_t i = 0; i < config.script.size(); ++i) {
    const ScriptedPhase& phase = config.script[i];
    findings.Require(phase.steps >= 1, "script: phase ", i, ": expected >= 1 steps, got ",
                     phase.steps);
    findings.Require(!phase.set.empty(), "script: phase ", i,
                     ": expected at least one entry, got none");
    const absl::Status status = Validate(phase.set, table);
    findings.Require(status.ok(), "script: phase ", i, ": ", status.message());
    steps += std::max<int64_t>(0, std::min(phase.steps, config.total_steps - steps));
  }
  findings.Require(steps >= config.total_steps, "script: expected >= total_steps (",
                   config.total_steps, ") steps, got ", steps);
}

}  // namespace

absl::Status Validate(const PolicyConfig& config, const TensorTable& table) {
  Findings findings;
  findings.Require(config.total_steps >= 1, "total_steps: expected >= 1, got ", config.total_steps);
  findings.Require(config.groups >= 1, "groups: expected >= 1, got ", config.groups);
  findings.Require(config.lag >= 0, "lag: expected >= 0, got ", config.lag);
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
    findings.Require(false, "unknown policy \"", config.name, "\"; expected one of ",
                     KnownNames(config.name, KnownPolicies()));
  }
  return findings.status();
}

}  // namespace blockstep
