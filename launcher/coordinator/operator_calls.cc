#include "launcher/coordinator/operator_calls.h"

#include "core/base/status.h"
#include "launcher/coordinator/call_status.h"
#include "launcher/coordinator/client_retry.h"
#include "proto/coordinator.grpc.pb.h"

namespace blockstep {
namespace {

template <typename Call>
absl::Status Ask(const ChannelOptions& channel, Call call) {
  const auto stub = proto::Coordinator::NewStub(MakeChannel(channel));
  grpc::ClientContext context;
  context.set_deadline(Deadline(kOperatorCallS));
  return ExplainCallFailure(channel,
                            FromGrpc(call(*stub, context), Cat("coordinator ", channel.address)));
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
