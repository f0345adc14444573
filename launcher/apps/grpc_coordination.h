// Coordination over gRPC. Without coordinator.address rank 0 embeds the coordinator: port 0, mutual
// TLS under a certificate authority that lives in its memory; address and certificates reach the
// other ranks through the group's own communicator. With an address, the coordinator is a process
// of its own.
#pragma once

#include <memory>

#include "launcher/apps/coordination.h"
#include "launcher/coordinator/coordinator_client.h"
#include "launcher/coordinator/coordinator_server.h"

namespace blockstep {

class GrpcCoordination : public Coordination {
 public:
  ~GrpcCoordination() override;

  absl::StatusOr<DirectiveSource*> Connect(const CoordinationStart& start,
                                           Communicator& group) override;
  absl::Status PolicyState(int64_t step, TrainerState& state) override;
  bool StopOrdered() override;
  void Tell(int64_t step, RunPhase phase, const CommProgress& comm) override;
  absl::StatusOr<std::vector<PeerState>> Peers(double deadline_s) override;
  void Leave(const std::string& why) override;

 private:
  struct Contact;  // what rank 0 tells the others
  absl::StatusOr<Contact> Embed(const CoordinationStart& start, int ranks);

  std::unique_ptr<CoordinatorServer> server_;  // rank 0, embedded
  std::unique_ptr<CoordinatorClient> client_;
};

// Equal on all ranks, or the coordinator refuses one: version of the program and its wire.
std::string BuildIdentity();
// Widest vector instructions that kernels use here.
std::string InstructionSet();

}  // namespace blockstep
