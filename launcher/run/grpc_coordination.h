// Coordination over gRPC. Without coordinator.address rank 0 embeds the coordinator: port 0, of the
// loopback interface when all ranks are on its machine, mutual TLS under a certificate authority
// that lives in its memory; address and certificates reach the other ranks through the group's own
// communicator. With an address, the coordinator is a process of its own. Either way rank 0 keeps
// its contact in the run folder while it runs.
#pragma once

#include <memory>

#include "launcher/coordinator/contact.h"
#include "launcher/coordinator/coordinator_client.h"
#include "launcher/coordinator/coordinator_server.h"
#include "launcher/coordinator/leader_source.h"
#include "launcher/run/coordination.h"

namespace blockstep {

class GrpcCoordination : public Coordination {
 public:
  ~GrpcCoordination() override;

  absl::StatusOr<DirectiveSource*> Connect(const CoordinationStart& start,
                                           Communicator& group) override;
  absl::Status PolicyState(int64_t step, TrainerState& state) override;
  bool StopRequested() override;
  int64_t SavesOrdered() override;
  void Tell(int64_t step, RunStage stage, const CommProgress& comm) override;
  absl::StatusOr<std::vector<PeerState>> Peers(double deadline_s) override;
  void Leave(const std::string& why) override;

 private:
  absl::StatusOr<Contact> Embed(const CoordinationStart& start, int ranks);
  absl::StatusOr<Contact> Meet(const CoordinationStart& start, Communicator& group);

  std::string contact_folder_;                 // rank 0, while the contact lies there
  std::unique_ptr<CoordinatorServer> server_;  // rank 0, embedded
  std::unique_ptr<CoordinatorClient> client_;
  std::unique_ptr<LeaderSource> leader_;  // rank 0
};

}  // namespace blockstep
