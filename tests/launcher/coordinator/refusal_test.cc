// What reports may say, and when.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/coordinator.grpc.pb.h"
#include "tests/launcher/coordinator/client_runs.h"

namespace blockstep {
namespace {

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

}  // namespace
}  // namespace blockstep
