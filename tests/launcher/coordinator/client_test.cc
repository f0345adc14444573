// A rank's client before a coordinator that is played: what it takes from the stream, and that no
// report is lost or comes twice as another one.
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <mutex>
#include <vector>

#include "gtest/gtest.h"
#include "launcher/config/step_proto.h"
#include "proto/coordinator.grpc.pb.h"
#include "tests/launcher/coordinator/client_runs.h"

namespace blockstep {
namespace {

Directive Of(int64_t from, int64_t through) {
  Directive d{.from = from, .through = through, .phase = from};
  d.sets.push_back({{{.tensor = static_cast<int>(from), .rows = {0, 64}}}});
  return d;
}

class Played : public proto::Coordinator::Service {
 public:
  struct Event {
    int64_t term;
    Directive directive;
  };
  std::vector<Event> events;      // what the stream says, then it stays open
  std::atomic<int> refusals{0};   // so many reports meet an error that time may heal
  std::atomic<int> forgotten{0};  // and so many a coordinator that no longer knows the rank
  std::atomic<int> joins{0};

  std::vector<int64_t> reported() {
    std::lock_guard lock(mutex_);
    return reported_;
  }

  grpc::Status Join(grpc::ServerContext*, const proto::JoinRequest*,
                    proto::JoinReply* reply) override {
    reply->set_term(1);
    ++joins;
    return grpc::Status::OK;
  }
  grpc::Status Heartbeat(grpc::ServerContext*, const proto::HeartbeatRequest*,
                         proto::HeartbeatReply*) override {
    return grpc::Status::OK;
  }
  grpc::Status Directives(grpc::ServerContext* context, const proto::DirectivesRequest*,
                          grpc::ServerWriter<proto::DirectiveEvent>* writer) override {
    for (const Event& e : events) {
      proto::DirectiveEvent event;
      event.set_term(e.term);
      *event.mutable_directive() = ToProto(e.directive);
      writer->Write(event);
    }
    while (!context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return grpc::Status::OK;
  }
  grpc::Status Report(grpc::ServerContext*, const proto::ReportRequest* request,
                      proto::ReportReply*) override {
    if (refusals-- > 0) return {grpc::StatusCode::UNAVAILABLE, "later"};
    if (forgotten-- > 0) return {grpc::StatusCode::ABORTED, "join again"};
    std::lock_guard lock(mutex_);
    reported_.push_back(request->report().step());
    return grpc::Status::OK;
  }
  grpc::Status Leave(grpc::ServerContext*, const proto::LeaveRequest*,
                     proto::LeaveReply*) override {
    return grpc::Status::OK;
  }

 private:
  std::mutex mutex_;
  std::vector<int64_t> reported_;
};

class ClientTest : public testing::Test {
 protected:
  Client Start() {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&played_);
    server_ = builder.BuildAndStart();
    EXPECT_NE(server_, nullptr);
    return Joined(ClientOptions(Cat("127.0.0.1:", port), 0, 1));
  }
  void TearDown() override {
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
  }

  Played played_;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(ClientTest, TakesEachStepOnceAndOfThisTermOnly) {
  played_.events = {{1, Of(0, 1)}, {7, Of(2, 9)}, {1, Of(0, 1)}, {1, Of(2, 2)}, {1, Of(3, 5)}};
  const Client client = Start();
  for (int64_t step = 0; step <= 5; ++step) {
    const absl::StatusOr<Directive> directive = client->Await(step);
    ASSERT_TRUE(directive.ok()) << directive.status();
    EXPECT_EQ(directive->phase, step < 2 ? 0 : step < 3 ? 2 : 3);
  }
  EXPECT_EQ(client->Peek(6), nullptr);
}

TEST_F(ClientTest, AStepThatIsLeftOutIsAnError) {
  played_.events = {{1, Of(0, 1)}, {1, Of(3, 5)}};
  const Client client = Start();
  const absl::Status status = client->Await(4).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
}

TEST_F(ClientTest, ReportsComeInOrderThroughRefusalsAndANewJoin) {
  played_.events = {{1, Of(0, 9)}};
  const Client client = Start();
  played_.refusals = 2;
  played_.forgotten = 1;
  for (const int64_t step : {0, 1, 2, 3}) ASSERT_TRUE(client->Report(ReportOf(step)).ok());
  // Waits for the reports.
  ASSERT_TRUE(client->Leave("done").ok());
  EXPECT_EQ(played_.reported(), (std::vector<int64_t>{0, 1, 2, 3}));
  EXPECT_GE(played_.joins, 2);
}

}  // namespace
}  // namespace blockstep
