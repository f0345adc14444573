#include "launcher/coordinator/operator_calls.h"

#include "core/base/status.h"
#include "launcher/coordinator/client_retry.h"
#include "launcher/coordinator/grpc_status.h"
#include "launcher/coordinator/tcp_probe.h"
#include "proto/coordinator.grpc.pb.h"

namespace blockstep {
namespace {

// gRPC says "failed to connect to all addresses" whatever the cause; a look at the port tells more.
absl::Status Explained(const ChannelOptions& channel, const absl::Status& status) {
  if (!absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status)) return status;
  const std::string where = Cat("coordinator ", channel.address);
  const auto says = [&](std::string_view text) {
    return Std(status.message()).find(text) != std::string_view::npos;
  };
  // Of a connection that a stopped process's system took for it.
  const bool silent = absl::IsDeadlineExceeded(status) || says("timed out before receiving") ||
                      says("Handshake read failed");
  if (const absl::Status port = TcpProbe(channel.address, 1.0); !port.ok()) {
    return Unavailable(where, ": ", port.message(), "; is the run over, or its host down?");
  }
  if (silent) {
    return DeadlineExceeded(where,
                            ": something listens there, but does not answer; is it stopped?");
  }
  if (channel.tls.empty()) {
    return Unavailable(where, ": something listens there, but not in plaintext; wanted --tls with ",
                       "the certificates of its authority, or another address");
  }
  return Unavailable(where, ": something listens there, but refused TLS; are both certificates of ",
                     "one authority and valid, and is the server's for ",
                     channel.tls_name.empty() ? "that host" : channel.tls_name, "?");
}

template <typename Call>
absl::Status Ask(const ChannelOptions& channel, Call call) {
  const auto stub = proto::Coordinator::NewStub(MakeChannel(channel));
  grpc::ClientContext context;
  context.set_deadline(Deadline(kOperatorCallS));
  return Explained(channel, FromGrpc(call(*stub, context), Cat("coordinator ", channel.address)));
}

}  // namespace

absl::StatusOr<proto::StatusReply> AskStatus(const ChannelOptions& channel) {
  proto::StatusReply reply;
  RETURN_IF_ERROR(Ask(channel, [&](auto& stub, grpc::ClientContext& context) {
    return stub.Status(&context, {}, &reply);
  }));
  return reply;
}

absl::Status OrderStop(const ChannelOptions& channel, const std::string& run_id) {
  proto::StopRequest request;
  request.set_run_id(run_id);
  proto::OrdersReply reply;
  return Ask(channel, [&](auto& stub, grpc::ClientContext& context) {
    return stub.Stop(&context, request, &reply);
  });
}

absl::Status OrderSave(const ChannelOptions& channel, const std::string& run_id) {
  proto::SaveNowRequest request;
  request.set_run_id(run_id);
  proto::OrdersReply reply;
  return Ask(channel, [&](auto& stub, grpc::ClientContext& context) {
    return stub.SaveNow(&context, request, &reply);
  });
}

}  // namespace blockstep
