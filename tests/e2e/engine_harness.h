// A whole run in one process: N ranks as threads over the local communicator, a policy in process,
// and the real step engine. Tests compare what it returns for different N, placements and backends.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "launcher/train/engine/step_engine.h"
#include "model/llama_config.h"
#include "optim/policy/policy.h"
#include "optim/rules/rules.h"
#include "optim/schedule.h"

namespace blockstep::testing {

struct RunSpec {
  int ranks = 1;
  std::vector<char> pinned;  // per unit; empty: none
  PolicyConfig policy;
  int64_t steps = 10;
  int64_t slots = 6, micro_slots = 1, tokens = 32;
  Numerics numerics = Numerics::kSlotExact;
  GradAccumulation accumulation = GradAccumulation::kLocal;
  Recompute recompute = Recompute::kNone;
  std::string backend = "cpu";
  const Backend* own_backend = nullptr;  // (optional) instead of the named one
  int threads = 1;
  std::vector<int64_t> slots_by_step;  // each step's, none more than `slots`; empty: `slots`
  int group_size = 0;                  // ranks that weights are sharded over; 0: all
  int comm_delay_us = 0;               // random delay of each piece of communication
  int call_sleep_us = 0;               // each collective takes at least this long
  double lr = 1e-2;
  double clip_norm = 1.0, eps = 1e-8;
  DecayOn decay_on = DecayOn::kMatrices;
  bool measure_adam = false;  // also for a policy that does not read it
  bool tied = false;
  std::optional<LlamaConfig> model;  // instead of TinyLlama(tied)
  // (optional) Instead of a cosine from `lr` after three steps of warm-up.
  std::optional<ScheduleConfig> schedule;
  // (optional) Instead of random weights: fills `rows` of a tensor, (rows, cols).
  std::function<void(int tensor, Range rows, float* out)> init;
  ReadSlots read_slots;          // (optional) instead of TokenAt's
  std::vector<Tracer*> tracers;  // (optional) per rank
  std::string digests;           // (optional) file name, as runtime.digests
  // (optional) Called on each rank after each step.
  std::function<void(int rank, StepEngine& engine, const RankGroup& group, Arena& arena,
                     const StepResult& result)>
      after_step;
};

struct RunOutcome {
  std::string weights_hash;                 // SHA-256 over all tensors, whole rows in order
  std::vector<std::string> blocks;          // "phase: entries" per step
  std::vector<double> losses;               // mean per step
  std::vector<double> adam_norms;           // squared, of every entry that has one, step by step
  std::vector<CommBytes> bytes;             // per rank, training only
  std::vector<std::vector<float>> weights;  // per tensor
};

// Two layers, GQA, vocabulary 96: small and odd enough to have ragged shards.
LlamaConfig TinyLlama(bool tied);

// The t-th token of the slot at `position` of the data order; the target is the one after.
int32_t TokenAt(int64_t position, int64_t t, int64_t vocab);

RunOutcome RunTraining(const RunSpec& spec);

// One rank of such a run, over a communicator of any kind: for ranks that are processes. The policy
// is this rank's own, so one that reads no reports. Bytes and weights are this rank's.
RunOutcome RunTrainingRank(const RunSpec& spec, const RankGroup& group);

}  // namespace blockstep::testing
