// First part of a rank's life: what its configuration names, as far as that can be checked without
// a run folder, and the same on every rank. Writes nothing.
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
  std::vector<InputFile> inputs;  // every file that it reads
  std::string config_text;        // as the run folder keeps it
  std::string maths;              // everything that changes the result, a field a line
  std::string config_hash;        // of maths
  MemoryCheckShape memory;
  MemoryPromise promise;
};

// Collective. Errors of input, of configurations that differ between ranks, and of a plan that is
// larger than the memory there is.
absl::StatusOr<ResolvedRun> ResolveRun(const RankJob& job);

}  // namespace blockstep
