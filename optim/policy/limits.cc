#include "optim/policy/limits.h"

#include <algorithm>

#include "core/base/str.h"

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

}  // namespace blockstep
