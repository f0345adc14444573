// What the coordinator refuses on the wire, byte by byte where gRPC's own client would be too
// polite.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gmock/gmock.h"
#include "grpcpp/generic/generic_stub.h"
#include "gtest/gtest.h"
#include "proto/coordinator.grpc.pb.h"
#include "tests/launcher/coordinator/client_runs.h"

namespace blockstep {
namespace {

using testing::HasSubstr;

TEST(Coordinator, RefusesStaleTermAndReportsOfOthers) {
  const std::string log = FreshPath("term.log");
  Started(ServerOptions(log)).reset();
  const auto server = Started(ServerOptions(log));
  const std::vector<Client> clients = JoinAll(server->address(), 2);
  EXPECT_EQ(clients[0]->term(), 2);
  const auto stub = RawStub(*server);
  const auto report = [&](const proto::Identity& id) {
    proto::ReportRequest request;
    *request.mutable_identity() = id;
    request.mutable_report()->set_tokens(5);
    proto::ReportReply reply;
    RawCall call;
    return stub->Report(&call.context, request, &reply);
  };
  EXPECT_EQ(report(IdentityOf(1)).error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(report(IdentityOf(3)).error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(report(IdentityOf(2, 0)).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(report(IdentityOf(2, 1, 1)).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  proto::Identity other = IdentityOf(2);
  other.set_run_id("run-2");
  EXPECT_EQ(report(other).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(server->state().Status().next_step(), 0);
  EXPECT_TRUE(report(IdentityOf(2)).ok());
  EXPECT_EQ(server->state().Status().next_step(), 1);
}

TEST(Coordinator, LateAndRepeatedReportsChangeNothingAndGapsAreErrors) {
  const auto server = Started(ServerOptions());
  const Client client = Joined(ClientOptions(server->address(), 0, 1));
  for (const int64_t step : {0, 1, 1, 0, 2, 1}) EXPECT_TRUE(client->Report(ReportOf(step)).ok());
  const auto directive = client->Await(4);
  ASSERT_TRUE(directive.ok()) << directive.status().ToString();
  EXPECT_TRUE(client->Leave("").ok());
  const proto::StatusReply status = server->state().Status();
  EXPECT_EQ(status.next_step(), 3);
  EXPECT_EQ(status.tokens(), 30);
  EXPECT_EQ(status.directives(), 5);
  EXPECT_TRUE(client->Report(ReportOf(9)).ok());  // queued
  EXPECT_EQ(client->Await(10).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(Coordinator, GarbageAndOversizedMessagesAreRefusedAndTheRunGoesOn) {
  const auto server = Started(ServerOptions());
  const Client client = Joined(ClientOptions(server->address(), 0, 1));
  const int raw = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(server->port()));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(connect(raw, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
  const std::string noise(4096, '\xA5');
  EXPECT_GT(send(raw, noise.data(), noise.size(), MSG_NOSIGNAL), 0);
  close(raw);

  grpc::GenericStub generic(MakeChannel({.address = server->address()}));
  const auto send_bytes = [&](const std::string& bytes) {
    const grpc::Slice slice(bytes);
    const grpc::ByteBuffer request(&slice, 1);
    grpc::ByteBuffer reply;
    RawCall call;
    std::mutex mutex;
    std::condition_variable done;
    std::optional<grpc::Status> result;
    generic.UnaryCall(&call.context, "/blockstep.proto.Coordinator/Report", grpc::StubOptions(),
                      &request, &reply, [&](grpc::Status status) {
                        std::lock_guard lock(mutex);
                        result = std::move(status);
                        done.notify_one();
                      });
    std::unique_lock lock(mutex);
    done.wait(lock, [&] { return result.has_value(); });
    return *result;
  };
  // So gRPC answers what it cannot parse.
  EXPECT_EQ(send_bytes(noise).error_code(), grpc::StatusCode::UNIMPLEMENTED);

  proto::ReportRequest big;
  *big.mutable_identity() = IdentityOf(1);
  big.mutable_identity()->mutable_run_id()->assign(kMaxMessageBytes - 64, 'x');
  proto::ReportReply reply;
  RawCall fits;
  EXPECT_EQ(RawStub(*server)->Report(&fits.context, big, &reply).error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);  // read, and of another run
  big.mutable_identity()->mutable_run_id()->append(128, 'x');
  EXPECT_EQ(send_bytes(big.SerializeAsString()).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);

  proto::ReportRequest absurd;
  *absurd.mutable_identity() = IdentityOf(1);
  absurd.mutable_report()->add_norms()->set_role(99);
  RawCall call;
  EXPECT_EQ(RawStub(*server)->Report(&call.context, absurd, &reply).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(RunRank(client.get(), 0, 0, 10), ExpectedPhases(10));
}

}  // namespace
}  // namespace blockstep
