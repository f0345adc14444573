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

void Script(const PolicyConfig& config, Faults& faults) {
  const bool scripted = config.name == "scripted";
  faults.Require(
      scripted == !config.script.empty(), "phase", Cat(config.script.size(), " phases"),
      scripted ? "at least one with policy.name scripted" : "none without policy.name scripted");
  int64_t steps = 0;  // no more than needed, so that the sum cannot overflow
  for (size_t i = 0; i < config.script.size(); ++i) {
    const ScriptedPhase& phase = config.script[i];
    faults.AtLeast(Cat("phase[", i, "].steps"), phase.steps, int64_t{1});
    faults.Require(!phase.set.empty(), Cat("phase[", i, "].entry"), "none", "at least one");
    steps += std::clamp<int64_t>(phase.steps, 0, std::max<int64_t>(0, config.total_steps - steps));
  }
  faults.Require(config.script.empty() || steps >= config.total_steps, "phase",
                 Cat(steps, " steps in total"),
                 Cat("at least train.steps (", config.total_steps, ")"));
}

}  // namespace

Faults CheckLimits(const PolicyConfig& c) {
  Faults faults;
  faults.AtLeast("total_steps", c.total_steps, int64_t{1});
  faults.AtLeast("groups", c.groups, 1);
  faults.Require(c.lag >= 0 && c.lag <= kMostLag, "lag", c.lag, Cat("0 to ", kMostLag));
  faults.Require(c.name != "full" || (c.embedding != TensorPolicy::kFrozen &&
                                      c.final_norm != TensorPolicy::kFrozen),
                 c.embedding == TensorPolicy::kFrozen ? "embedding" : "final_norm", "frozen",
                 "always or as_blocks (policy full trains every tensor)");
  faults.AtLeast("block_steps", c.block_steps, int64_t{1});
  faults.AtLeast("embedding_split", c.embedding_split, 1);
  faults.Require(c.embedding_split <= 1 || c.embedding == TensorPolicy::kAsBlocks,
                 "embedding_split", c.embedding_split, "1 unless `embedding: as_blocks`");
  faults.Require(c.embedding_split <= 1 || c.name != "blockllm", "embedding_split",
                 c.embedding_split, "1 (policy blockllm selects whole tensors)");
  faults.Require(c.sparsity >= 0 && c.sparsity < 1, "sparsity", c.sparsity, "a value in [0, 1)");
  faults.AtLeast("patience", c.patience, int64_t{1});
  faults.AtLeast("probes_per_step", c.probes_per_step, 0);
  faults.AtLeast("sweep_elements", c.sweep_elements, int64_t{0});
  faults.Require(c.mask == BlockLlmMask::kNone, "mask",
                 c.mask == BlockLlmMask::kShare ? "share" : "literal",
                 "none (this build selects whole tensors)");
  Script(c, faults);
  return faults;
}

namespace {

void CheckSplit(const PolicyConfig& config, const TensorTable& table, Faults& faults) {
  const int split = config.embedding_split;
  for (size_t i = 0; i < table.tensors.size(); ++i) {
    const ModelPart part = PartOf(table, static_cast<int>(i));
    if (part != ModelPart::kEmbedding && part != ModelPart::kHead) continue;
    const TensorInfo& t = table.tensors[i];
    const int64_t grain = EntryRows(t.cols);
    const int64_t most = std::max<int64_t>(1, t.rows / grain);
    faults.Require(
        split <= most, "embedding_split",
        Cat(split, ": ", t.name, " has ", t.rows, " rows, split on multiples of ", grain),
        Cat("at most ", most));
  }
}

void CheckBadam(const PolicyConfig& config, const TensorTable& table, Faults& faults) {
  CheckSplit(config, table, faults);
  if (config.embedding_split >= 1 && BadamBlocks(config, table).empty()) {
    faults.Add("embedding, final_norm", "leave no block");
  }
}

void CheckBlockLlm(const PolicyConfig& config, const TensorTable& table, Faults& faults) {
  const TensorInfo* largest = nullptr;
  for (size_t i = 0; i < table.tensors.size(); ++i) {
    if (TensorPolicyOf(config, table, static_cast<int>(i)) != TensorPolicy::kAsBlocks) continue;
    const TensorInfo& t = table.tensors[i];
    if (largest == nullptr || t.size() > largest->size()) largest = &t;
  }
  if (largest == nullptr) {
    faults.Add("embedding, final_norm", "leave no tensor to select");
  } else if (config.sweep_elements > 0) {
    faults.Require(config.sweep_elements >= largest->size(), "sweep_elements",
                   config.sweep_elements,
                   Cat("0 or at least ", largest->size(), ", the size of ", largest->name));
  }
}

void CheckScript(const PolicyConfig& config, const TensorTable& table, Faults& faults) {
  for (size_t i = 0; i < config.script.size(); ++i) {
    const absl::Status status = Validate(config.script[i].set, table);
    if (!status.ok()) faults.Add(Cat("phase[", i, "]"), std::string(status.message()));
  }
}

}  // namespace

absl::Status Validate(const PolicyConfig& config, const TensorTable& table) {
  Faults faults = CheckLimits(config);
  if (config.name == "badam") {
    CheckBadam(config, table, faults);
  } else if (config.name == "blockllm") {
    CheckBlockLlm(config, table, faults);
  } else if (config.name == "scripted") {
    CheckScript(config, table, faults);
  } else if (config.name != "full") {
    faults.Add("", Cat("policy \"", config.name, "\" is unknown, expected one of ",
                       KnownNames(config.name, KnownPolicies())));
  }
  return faults.status();
}

}  // namespace blockstep
