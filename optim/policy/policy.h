// Who learns next: pure state machines (state, report) -> (state, directives). No clock, no I/O,
// randomness by counter; the same inputs give the same directives on every machine.
//
// A change of Directive::phase drops all optimizer state and restarts the step counter of every
// entry of the new set, also of entries that were active before: BAdam and BlockLLM re-initialise
// their optimizer at a switch. Within a phase, and across directives of one phase, state stays.
// Directives leave no step out and cover none twice; every group of the grid gets the same set.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/step/directive.h"

namespace blockstep {

class Policy {
 public:
  virtual ~Policy() = default;
  virtual std::string_view name() const = 0;

  // Directives known before any report; the first begins at step 0. Called once for a fresh run.
  virtual std::vector<Directive> Start() = 0;
  // Directives that `report` makes known, in order, covering steps after those issued so far.
  // Reports come once each, in ascending step order; a step with nonfinite > 0 counts as a step.
  virtual std::vector<Directive> OnReport(const StepReport& report) = 0;

  // Everything a continuation needs, as text (deterministic); LoadState on a fresh policy of the
  // same config continues exactly where SaveState was taken.
  virtual std::string SaveState() const = 0;
  virtual absl::Status LoadState(std::string_view state) = 0;
  // Once after LoadState: `issued` are the directives known then for `step` and later. Returns them
  // as a run of this total_steps has them, which may be longer or shorter than the run that saved.
  virtual std::vector<Directive> Continue(int64_t step, std::vector<Directive> issued) = 0;
};

// What a checkpoint keeps of a policy: its state after exactly the reports of the steps below one,
// and the directives issued for that step and beyond.
struct PolicySnapshot {
  std::string policy_state;  // Policy::SaveState
  std::vector<Directive> directives;
};

enum class TensorPolicy : uint8_t { kFrozen, kAlways, kAsBlocks };
enum class BlockOrder : uint8_t { kAscending, kDescending, kRandom };
enum class BlockLlmScore : uint8_t { kGradNorm, kGradRms, kAdam };
enum class BlockLlmMode : uint8_t { kRepaired, kPaper };
enum class BlockLlmMask : uint8_t { kNone, kShare, kLiteral };
enum class ProbeScope : uint8_t { kAboveCut, kAll };

struct ScriptedPhase {
  ActiveSet set;
  int64_t steps = 1;
};

struct PolicyConfig {
  std::string name = "full";  // full | badam | blockllm | scripted
  uint64_t seed = 0;
  int64_t total_steps = 0;
  int groups = 1;
  int64_t lag = 1;  // horizon of patience rules is 1 + lag

  // badam, blockllm: tensors outside the decoder layers. kFrozen never train, kAlways train in
  // every phase beside the block, kAsBlocks are blocks like the others.
  TensorPolicy embedding = TensorPolicy::kAsBlocks;   // embedding and LM head
  TensorPolicy final_norm = TensorPolicy::kAsBlocks;  // badam: in the head's block

  // badam
  BlockOrder order = BlockOrder::kRandom;
  int64_t block_steps = 50;  // K, the first block too
  int embedding_split = 1;   // row splits of embedding and head, each a block

  // blockllm: optim/policy/blockllm.h states the rule
  BlockLlmMode mode = BlockLlmMode::kRepaired;
  BlockLlmScore score = BlockLlmScore::kGradNorm;  // kPaper: always kAdam
  double sparsity = 0.5;                           // s; budget n_s = (1 - s) n elements
  int64_t patience = 50;                           // m
  int probes_per_step = 1;                         // p
  ProbeScope probe_scope = ProbeScope::kAboveCut;
  int64_t sweep_elements = 0;  // most elements of one sweep pass; 0: the largest unit's
  BlockLlmMask mask = BlockLlmMask::kNone;  // only kNone, as in the paper's own experiments

  // Replayed in order; together no shorter than total_steps.
  std::vector<ScriptedPhase> script;
};

std::vector<std::string> KnownPolicies();

// Whether the policy reads TensorNorm::adam_squared_norm, so that somebody has to measure it.
bool NeedsAdamNorms(const PolicyConfig& config);

// The config is checked against the table; an error lists every contradiction by field name.
absl::StatusOr<std::unique_ptr<Policy>> MakePolicy(const PolicyConfig& config,
                                                   const TensorTable& table);

}  // namespace blockstep
