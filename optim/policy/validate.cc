#include "optim/policy/validate.h"

#include <algorithm>

#include "core/base/nearest.h"
#include "core/base/status.h"
#include "core/base/str.h"
#include "core/tensor/sharding.h"
#include "optim/policy/blockllm_select.h"
#include "optim/policy/blocks.h"

namespace blockstep {
namespace {

constexpr int64_t kMostLag = 1'000'000;  // steps + lag stay far from the ends of int64

class Limits {
 public:
  template <typename T>
  void Require(bool ok, const std::string& field, const T& got, std::string_view expected) {
    if (!ok) faults.push_back({field, Cat(got), std::string(expected)});
  }
  template <typename T>
  void AtLeast(const std::string& field, T value, T least) {
    Require(value >= least, field, value, Cat(">= ", least));
  }

  std::vector<FieldFault> faults;
};

void Script(const PolicyConfig& config, Limits& limits) {
  const bool scripted = config.name == "scripted";
  limits.Require(
      scripted == !config.script.empty(), "phase", Cat(config.script.size(), " phases"),
      scripted ? "at least one with policy.name scripted" : "none without policy.name scripted");
  int64_t steps = 0;  // no more than needed, so that the sum cannot overflow
  for (size_t i = 0; i < config.script.size(); ++i) {
    const ScriptedPhase& phase = config.script[i];
    limits.AtLeast(Cat("phase[", i, "].steps"), phase.steps, int64_t{1});
    limits.Require(!phase.set.empty(), Cat("phase[", i, "].entry"), "none", "at least one");
    steps += std::clamp<int64_t>(phase.steps, 0, std::max<int64_t>(0, config.total_steps - steps));
  }
  limits.Require(config.script.empty() || steps >= config.total_steps, "phase",
                 Cat(steps, " steps in total"),
                 Cat("at least train.steps (", config.total_steps, ")"));
}

}  // namespace

std::vector<FieldFault> CheckLimits(const PolicyConfig& c) {
  Limits limits;
  limits.AtLeast("total_steps", c.total_steps, int64_t{1});
  limits.AtLeast("groups", c.groups, 1);
  limits.Require(c.lag >= 0 && c.lag <= kMostLag, "lag", c.lag, Cat("0 to ", kMostLag));
  limits.Require(c.name != "full" || (c.embedding != TensorPolicy::kFrozen &&
                                      c.final_norm != TensorPolicy::kFrozen),
                 c.embedding == TensorPolicy::kFrozen ? "embedding" : "final_norm", "frozen",
                 "always or as_blocks (policy full trains every tensor)");
  limits.AtLeast("block_steps", c.block_steps, int64_t{1});
  limits.AtLeast("embedding_split", c.embedding_split, 1);
  limits.Require(c.embedding_split <= 1 || c.embedding == TensorPolicy::kAsBlocks,
                 "embedding_split", c.embedding_split, "1 unless `embedding: as_blocks`");
  limits.Require(c.embedding_split <= 1 || c.name != "blockllm", "embedding_split",
                 c.embedding_split, "1 (policy blockllm selects whole tensors)");
  limits.Require(c.sparsity >= 0 && c.sparsity < 1, "sparsity", c.sparsity, "a value in [0, 1)");
  limits.AtLeast("patience", c.patience, int64_t{1});
  limits.AtLeast("probes_per_step", c.probes_per_step, 0);
  limits.AtLeast("sweep_elements", c.sweep_elements, int64_t{0});
  limits.Require(c.mask == BlockLlmMask::kNone, "mask",
                 c.mask == BlockLlmMask::kShare ? "share" : "literal",
                 "none (this build selects whole tensors)");
  Script(c, limits);
  return std::move(limits.faults);
}

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
