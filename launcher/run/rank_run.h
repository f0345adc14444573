// One rank of `blockstep train`, from an open communicator to an outcome. The command sets up
// processes and threads; this is the same for MPI ranks and for ranks that are threads.
#pragma once

#include <string>

#include "launcher/run/coordination.h"
#include "launcher/train/trainer.h"

namespace blockstep {

struct TrainFlags {
  std::string run = "runs/blockstep";
  std::string resume;
  bool allow_maths_change = false;
  std::string tokenizer;  // folder or file that checkpoints carry along
};

struct RankEnv {
  Communicator* group = nullptr;
  Coordination* coordination = nullptr;
  int threads = 1;
  int process_ranks = 1;  // ranks that are threads of this process
  int machine_ranks = 1;  // ranks on this machine
};

struct RankOutcome {
  TrainOutcome outcome;
  std::string weights_hash;
};

absl::StatusOr<RankOutcome> RunTrainingRank(const TrainConfig& config, const TrainFlags& flags,
                                            const RankEnv& env);

// The exit code that a result stands for.
int ExitCodeOfResult(const absl::StatusOr<RankOutcome>& result);

// Bytes of address space reserved for a rank's arena; memory is used as it is carved.
int64_t ArenaAddressSpace();

}  // namespace blockstep
