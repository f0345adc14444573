// First call of RunTrainingRank: loads and checks everything its configuration names, except the
// run folder, and checks that all ranks agree. Writes nothing.
#pragma once

#include <string>
#include <vector>

#include "core/device/backend.h"
#include "launcher/run/rank_job.h"
#include "launcher/train/input_digests.h"
#include "launcher/train/plan/memory_check.h"

namespace blockstep {

struct ResolvedRun {
  const Backend* backend = nullptr;
  LlamaConfig model;
  TensorTable table;
  PolicyConfig policy;
  std::vector<InputFile> inputs;  // every file the run reads
  std::string config_text;        // as the run folder keeps it
  std::string maths;              // everything that changes the result, a field a line
  std::string config_hash;        // of maths
  MemoryCheckShape memory;
  MemoryPromise promise;
};

// Collective. Errors: bad inputs, configurations that differ between ranks, and a plan that exceeds
// the available memory.
absl::StatusOr<ResolvedRun> ResolveRun(const RankJob& job);

}  // namespace blockstep
