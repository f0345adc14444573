#include "launcher/coordinator/coordinator_server.h"

#include <chrono>

#include "core/base/status.h"
#ifdef BLOCKSTEP_GRPC_REFLECTION
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#endif
#include "grpcpp/health_check_service_interface.h"
#include "launcher/coordinator/channel.h"
#include "launcher/coordinator/client_retry.h"
#include "launcher/coordinator/http_endpoint.h"

namespace blockstep {
namespace {

constexpr double kShutdownS = 2;

int64_t SteadyMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

absl::StatusOr<std::unique_ptr<CoordinatorServer>> CoordinatorServer::Start(
    CoordinatorServerOptions o) {
  RETURN_IF_ERROR(CheckBind(o.address, !o.tls.empty(), o.insecure));
  if (!o.run.now_ms) o.run.now_ms = SteadyMs;
  std::unique_ptr<CoordinatorServer> made(new CoordinatorServer());
  made->host_ = o.address.substr(0, o.address.rfind(':'));
  ASSIGN_OR_RETURN(made->state_, RunState::Create(o.run));
  made->service_ = std::make_unique<CoordinatorService>(made->state_.get());

  grpc::EnableDefaultHealthCheckService(true);
#ifdef BLOCKSTEP_GRPC_REFLECTION
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
#endif
  grpc::ServerBuilder builder;
  SetServerOptions(&builder, o.keepalive_s);
  builder.AddListeningPort(o.address, MakeServerCredentials(o.tls), &made->port_);
  builder.RegisterService(made->service_.get());
  made->server_ = builder.BuildAndStart();
  if (made->server_ == nullptr || made->port_ == 0) {
    return ResourceExhausted("coordinator address ", o.address,
                             ": cannot listen; check that the port is free, that the address "
                             "is this host's, and that the TLS files match");
  }
  grpc::HealthCheckServiceInterface* health = made->server_->GetHealthCheckService();
  health->SetServingStatus("blockstep.proto.Coordinator", true);
  made->service_->ShowHealth(health);
  if (!o.http_address.empty()) {
    ASSIGN_OR_RETURN(made->http_, HttpEndpoint::Start({.address = o.http_address,
                                                       .token = o.http_token,
                                                       .state = made->state_.get()}));
  }
  return made;
}

CoordinatorServer::~CoordinatorServer() {
  http_.reset();
  if (server_ == nullptr) return;
  service_->EndStreams();
  server_->Shutdown(Deadline(kShutdownS));
  server_->Wait();
}

std::string CoordinatorServer::address() const { return Cat(host_, ":", port_); }

int CoordinatorServer::http_port() const { return http_ == nullptr ? 0 : http_->port(); }

}  // namespace blockstep
