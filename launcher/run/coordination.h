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

// What the coordinator needs before it issues the first directive.
struct CoordinationStart {
  const TrainConfig* config = nullptr;
  const LlamaConfig* model = nullptr;
  const TensorTable* table = nullptr;
  const RunFolder* run = nullptr;
  const TrainerState* resumed = nullptr;  // null: a fresh run
  int machine_ranks = 1;                  // of the group's, those on this machine
};

// Orders to stop or save come from the coordinator or from a signal to this process.
class Coordination : public RunControl {
 public:
  // Collective over the group; returns this rank's source of directives, valid while this object
  // is.
  virtual absl::StatusOr<DirectiveSource*> Connect(const CoordinationStart& start,
                                                   Communicator& group) = 0;
  // Sets this rank's progress, sent with the next heartbeat.
  virtual void Tell(int64_t step, RunStage stage, const CommProgress& comm) = 0;
  // The progress of every rank as of its last heartbeat. UNAVAILABLE or
  // DEADLINE_EXCEEDED after at most `deadline_s`.
  virtual absl::StatusOr<std::vector<PeerState>> Peers(double deadline_s) = 0;
  // Leaves the run, so that no rank waits for this one.
  virtual void Leave(const std::string& why) = 0;
};

}  // namespace blockstep
