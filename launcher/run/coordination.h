// How a rank reaches the coordinator: embedded in rank 0 when the configuration names none, else at
// its address. The same client, service and wire either way.
#pragma once

#include <memory>

#include "launcher/checkpoint/run_folder.h"
#include "launcher/checkpoint/trainer_state.h"
#include "launcher/config/train_config.h"
#include "launcher/train/run_observer.h"
#include "launcher/train/watchdog/hang_report.h"

namespace blockstep {

// What the coordinator must know of a run before its first directive.
struct CoordinationStart {
  const TrainConfig* config = nullptr;
  const LlamaConfig* model = nullptr;
  const TensorTable* table = nullptr;
  const RunFolder* run = nullptr;
  const TrainerState* resumed = nullptr;  // null: a fresh run
  int machine_ranks = 1;                  // of the group's, those on this machine
};

// What stops a run or makes it save comes from the coordinator, or by a signal to this process.
class Coordination : public RunControl {
 public:
  // Collective over the group; returns this rank's source of directives, valid while this object
  // is.
  virtual absl::StatusOr<DirectiveSource*> Connect(const CoordinationStart& start,
                                                   Communicator& group) = 0;
  // Where this rank is; travels with the next heartbeat.
  virtual void Tell(int64_t step, RunStage stage, const CommProgress& comm) = 0;
  // Where every rank is, as the coordinator last heard. UNAVAILABLE or
  // DEADLINE_EXCEEDED after at most `deadline_s`.
  virtual absl::StatusOr<std::vector<PeerState>> Peers(double deadline_s) = 0;
  // Says goodbye, so that nobody waits for this rank.
  virtual void Leave(const std::string& why) = 0;
};

}  // namespace blockstep
