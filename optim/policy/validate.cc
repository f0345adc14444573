#include "optim/policy/validate.h"

#include <algorithm>

#include "core/base/nearest.h"
#include "core/base/status.h"
#include "core/tensor/sharding.h"
#include "optim/policy/blockllm_select.h"
#include "optim/policy/blocks.h"
#include "optim/policy/limits.h"

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
  for (size_t i = 0; i < table.tensors.size(); ++i) {
    const ModelPart part = PartOf(table, static_cast<int>(i));
    if (part != ModelPart::kEmbedding && part != ModelPart::kHead) continue;
    const TensorInfo& t = table.tensors[i];
    const int64_t grain = EntryRows(t.cols);
    const int64_t most = std::max<int64_t>(1, t.rows / grain);
    findings.Require(split <= most, "embedding_split: expected at most ", most, ", got ", split,
                     ": ", t.name, " has ", t.rows, " rows, split on multiples of ", grain);
  }
}

void CheckBadam(const PolicyConfig& config, const TensorTable& table, Findings& findings) {
  CheckSplit(config, table, findings);
  if (config.embedding_split >= 1) {
    findings.Require(!BadamBlocks(config, table).empty(), "embedding, final_norm: leave no block");
  }
}

void CheckBlockLlm(const PolicyConfig& config, const TensorTable& table, Findings& findings) {
  const TensorInfo* largest = nullptr;
  for (size_t i = 0; i < table.tensors.size(); ++i) {
    if (TensorPolicyOf(config, table, static_cast<int>(i)) != TensorPolicy::kAsBlocks) continue;
    const TensorInfo& t = table.tensors[i];
    if (largest == nullptr || t.size() > largest->size()) largest = &t;
  }
  findings.Require(largest != nullptr, "embedding, final_norm: leave no tensor to select");
  if (largest != nullptr && config.sweep_elements > 0) {
    findings.Require(config.sweep_elements >= largest->size(),
                     "sweep_elements: expected 0 or at least ", largest->size(), ", the size of ",
                     largest->name, ", got ", config.sweep_elements);
  }
}

void CheckScript(const PolicyConfig& config, const TensorTable& table, Findings& findings) {
  for (size_t i = 0; i < config.script.size(); ++i) {
    const absl::Status status = Validate(config.script[i].set, table);
    findings.Require(status.ok(), "phase[", i, "]: ", status.message());
  }
}

}  // namespace

absl::Status Validate(const PolicyConfig& config, const TensorTable& table) {
  Findings findings;
  for (const FieldFault& fault : CheckLimits(config)) {
    findings.Require(false, fault.field, ": expected ", fault.expected, ", got ", fault.got);
  }
  if (config.name == "badam") {
    CheckBadam(config, table, findings);
  } else if (config.name == "blockllm") {
    CheckBlockLlm(config, table, findings);
  } else if (config.name == "scripted") {
    CheckScript(config, table, findings);
  } else {
    findings.Require(config.name == "full", "policy \"", config.name,
                     "\" is unknown, expected one of ", KnownNames(config.name, KnownPolicies()));
  }
  return findings.status();
}

}  // namespace blockstep
