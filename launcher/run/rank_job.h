// Inputs of one rank: configuration, flags, communicator and its share of the machine.
#pragma once

#include <string>

#include "launcher/config/train_config.h"
#include "launcher/run/coordination.h"
#include "launcher/train/watchdog/watchdog.h"

namespace blockstep {

struct TrainFlags {
  std::string run = "runs/blockstep";
  std::string resume;
  bool allow_config_change = false;
  std::string tokenizer;  // folder or file that checkpoints carry along
};

struct RankEnv {
  RankGroup group;
  Coordination* coordination = nullptr;
  Watchdog* watchdog = nullptr;
  int threads = 1;
  int process_ranks = 1;  // ranks that are threads of this process
  int machine_ranks = 1;  // ranks on this machine
  int machine = 0;        // the lowest rank on it
};

// Passed to every call of RunTrainingRank; owned by its caller.
struct RankJob {
  const TrainConfig& config;
  const TrainFlags& flags;
  const RankEnv& env;

  Communicator& control() const { return *env.group.control; }
  bool leads() const { return env.group.rank() == 0; }  // rank 0 writes and prints for all
};

}  // namespace blockstep
