// The wire of RunState: gRPC's callback API. Calls are answered in gRPC's own threads; the longest
// thing any of them does is one fsync.
#pragma once

#include <mutex>
#include <set>

#include "grpcpp/grpcpp.h"
#include "grpcpp/health_check_service_interface.h"
#include "launcher/coordinator/run_state.h"
#include "proto/coordinator.grpc.pb.h"

namespace blockstep {

class CoordinatorService final : public proto::Coordinator::CallbackService {
 public:
  explicit CoordinatorService(RunState* state);
  ~CoordinatorService() override;  // every call has ended: after Server::Wait

  // From now on `health` says SERVING while the log takes reports, NOT_SERVING while it is broken;
  // it outlives the last call.
  void ShowHealth(grpc::HealthCheckServiceInterface* health);

  // Ends every stream with UNAVAILABLE; later ones are refused. Before Server::Shutdown.
  void EndStreams();

  using Unary = grpc::ServerUnaryReactor;
  using Context = grpc::CallbackServerContext;
  Unary* Join(Context*, const proto::JoinRequest*, proto::JoinReply*) override;
  Unary* Report(Context*, const proto::ReportRequest*, proto::ReportReply*) override;
  Unary* Heartbeat(Context*, const proto::HeartbeatRequest*, proto::HeartbeatReply*) override;
  Unary* Leave(Context*, const proto::LeaveRequest*, proto::LeaveReply*) override;
  Unary* Status(Context*, const proto::StatusRequest*, proto::StatusReply*) override;
  Unary* SaveNow(Context*, const proto::SaveNowRequest*, proto::OrdersReply*) override;
  Unary* Stop(Context*, const proto::StopRequest*, proto::OrdersReply*) override;
  grpc::ServerWriteReactor<proto::DirectiveEvent>* Directives(
      Context*, const proto::DirectivesRequest*) override;

 private:
  class Stream;
  void Wake();
  // After every call that writes to the log, before it is answered.
  void UpdateHealth();

  RunState* const state_;
  std::mutex health_mutex_;  // before RunState's own
  grpc::HealthCheckServiceInterface* health_ = nullptr;
  std::mutex mutex_;  // before any stream's and RunState's own
  std::set<Stream*> streams_;
  bool ended_ = false;
};

}  // namespace blockstep
