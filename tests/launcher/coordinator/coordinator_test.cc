#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "launcher/config/step_proto.h"
#include "tests/launcher/coordinator/client_runs.h"

namespace blockstep {
namespace {

using testing::HasSubstr;

TEST(Coordinator, EveryRankSwitchesAtTheSameStep) {
  const auto server = Started(ServerOptions());
  const std::vector<Client> clients = JoinAll(server->address(), 3);
  const std::vector<int64_t> expected = ExpectedPhases(60);
  EXPECT_EQ(expected.back(), 8);  // or the test shows nothing
  for (const auto& seen : RunRanks(clients, 0, 60)) EXPECT_EQ(seen, expected);
  EXPECT_TRUE(clients[0]->Leave("done").ok());
  const proto::StatusReply status = server->state().Status();
  EXPECT_EQ(status.next_step(), 60);
  EXPECT_EQ(status.tokens(), 600);
  EXPECT_EQ(status.ranks_size(), 3);
  EXPECT_EQ(status.ranks(0).left(), "done");
}

TEST(Coordinator, RanksThatComeBeforeRankZeroWait) {
  const auto server = Started(ServerOptions());
  std::vector<Client> clients(2);
  std::thread early([&] { clients[1] = Joined(ClientOptions(server->address(), 1, 2)); });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_EQ(server->state().Status().ranks_size(), 0);
  clients[0] = Joined(ClientOptions(server->address(), 0, 2));
  early.join();
  for (const auto& seen : RunRanks(clients, 0, 5)) EXPECT_EQ(seen, ExpectedPhases(5));
}

TEST(Coordinator, RestartFromItsLogLosesNoStep) {
  const std::string log = FreshPath("restart.log");
  CoordinatorServerOptions options = ServerOptions(log);
  options.run.decisions.reports_per_header = 8;  // headers are rewritten on the way
  auto server = Started(options);
  options.address = server->address();
  const std::vector<Client> clients = JoinAll(server->address(), 3);
  std::vector<std::jthread> restarts;
  std::vector<std::vector<int64_t>> seen(3);
  for (int64_t step = 0; step < 120; ++step) {
    if (step % 30 == 29 && restarts.size() < 3) {  // beside the steps that follow
      if (!restarts.empty()) restarts.back().join();
      restarts.emplace_back([&] {
        server.reset();
        server = Started(options);
      });
    }
    for (int r = 0; r < 3; ++r) {
      const auto directive = clients[r]->Await(step);
      ASSERT_TRUE(directive.ok()) << directive.status().ToString();
      seen[r].push_back(directive->phase);
    }
    // As in a run: what a step did is reported when every rank has done it.
    ASSERT_TRUE(clients[0]->Report(ReportOf(step)).ok());
  }
  restarts.back().join();
  EXPECT_TRUE(clients[0]->Leave("done").ok());
  for (const auto& phases : seen) EXPECT_EQ(phases, ExpectedPhases(120));
  EXPECT_EQ(server->state().Status().term(), 4);
  EXPECT_EQ(server->state().Status().view(), 1);
  EXPECT_EQ(server->state().Status().next_step(), 120);
}

TEST(Coordinator, GoneForLongerThanTheGraceIsUnavailable) {
  auto server = Started(ServerOptions());
  CoordinatorClientOptions options = ClientOptions(server->address(), 0, 1);
  options.grace_s = 3;
  const Client client = Joined(options);
  EXPECT_TRUE(client->Await(1).ok());
  server.reset();
  const absl::Status status = client->Await(2).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status.ToString();
}

TEST(Coordinator, AnswersButDecidesNothing) {
  const auto server = Started(ServerOptions());
  CoordinatorClientOptions options = ClientOptions(server->address(), 0, 1);
  options.grace_s = 3;
  options.heartbeat_s = 0.1;
  const Client client = Joined(options);
  const absl::Status status = client->Await(2).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("responds but sent no directive"));
  EXPECT_EQ(client->TryAwait(2), nullptr);
  ASSERT_NE(client->TryAwait(1), nullptr);
  EXPECT_EQ(client->TryAwait(1)->from, 1);
}

TEST(Coordinator, RefusesStrangersByName) {
  const auto server = Started(ServerOptions());
  const Client leader = Joined(ClientOptions(server->address(), 0, 3));
  const auto refused = [&](auto change) {
    CoordinatorClientOptions options = ClientOptions(server->address(), 1, 3);
    change(options);
    const absl::Status status = JoinError(options);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status.ToString();
    return std::string(status.message());
  };
  EXPECT_THAT(refused([](auto& o) { o.build = "build-2"; }),
              HasSubstr("here: rank 1: build: expected build-1, got build-2"));
  EXPECT_THAT(refused([](auto& o) { o.run_id = "run-2"; }),
              HasSubstr("run_id: expected run-1, got run-2"));
  EXPECT_THAT(refused([](auto& o) { o.config_hash = "hash-2"; }),
              HasSubstr("config_hash: expected hash-1, got hash-2"));
  EXPECT_THAT(refused([](auto& o) { o.world = 4; }), HasSubstr("world: expected 3, got 4"));
  EXPECT_THAT(refused([](auto& o) { o.rank = 3; }), HasSubstr("rank: expected 0 to 2, got 3"));
  EXPECT_THAT(refused([](auto& o) { o.incarnation = 0; }), HasSubstr("got 0"));
  EXPECT_THAT(refused([](auto& o) {
                o.slot_exact = true;
                o.instruction_set = "avx2";
              }),
              HasSubstr("instruction set"));
  // The run goes on.
  const Client second = Joined(ClientOptions(server->address(), 1, 3));
  EXPECT_TRUE(second->Await(0).ok());
}

TEST(Coordinator, RefusesASecondProcessOfALiveRank) {
  const auto server = Started(ServerOptions());
  Client first = Joined(ClientOptions(server->address(), 0, 1));
  EXPECT_TRUE(first->Await(0).ok());  // its stream stands
  CoordinatorClientOptions second = ClientOptions(server->address(), 0, 1);
  EXPECT_EQ(JoinError(second).code(), absl::StatusCode::kAlreadyExists);
  first.reset();
  EXPECT_TRUE(CoordinatorClient::Connect(second).ok());
}

TEST(Coordinator, OrdersReachEveryRankAndOutliveARestart) {
  const std::string log = FreshPath("orders.log");
  auto server = Started(ServerOptions(log));
  CoordinatorServerOptions again = ServerOptions(log);
  again.address = server->address();
  const std::vector<Client> clients = JoinAll(server->address(), 2);
  const auto stub = RawStub(*server);
  const auto wait_for = [&](auto condition) {
    for (int i = 0; i < 1200 && !condition(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return condition();
  };
  proto::OrdersReply reply;
  RawCall save, stop, wrong;
  EXPECT_TRUE(stub->SaveNow(&save.context, {}, &reply).ok());
  EXPECT_TRUE(wait_for([&] { return clients[1]->save_generation() == 1; }));
  EXPECT_FALSE(clients[1]->stop_requested());
  proto::StopRequest other;
  other.set_run_id("run-2");
  EXPECT_EQ(stub->Stop(&wrong.context, other, &reply).error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_TRUE(stub->Stop(&stop.context, {}, &reply).ok());
  EXPECT_TRUE(reply.orders().stop());
  server.reset();
  server = Started(again);
  EXPECT_TRUE(
      wait_for([&] { return clients[0]->stop_requested() && clients[1]->stop_requested(); }));
}

TEST(Coordinator, ProgressAndSilenceAreInTheStatus) {
  const auto server = Started(ServerOptions());
  const Client client = Joined(ClientOptions(server->address(), 0, 1));
  client->SetProgress(
      {.step = 3, .stage = RunStage::kStep, .op = "reduce layer 1", .sequence = 42});
  proto::RankStatus rank;
  // Heartbeats and the stream of directives come by ways of their own.
  for (int i = 0; i < 3000 && !(rank.progress().sequence() == 42 && rank.connected()); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    rank = server->state().Status().ranks(0);
  }
  EXPECT_EQ(rank.progress().op(), "reduce layer 1");
  EXPECT_EQ(rank.progress().step(), 3);
  EXPECT_TRUE(rank.connected());
  EXPECT_LT(rank.silent_ms(), 60'000);  // since its last call, not since the clock began
}

TEST(Coordinator, EveryStageReachesTheStatus) {
  const auto server = Started(ServerOptions());
  const Client client = Joined(ClientOptions(server->address(), 0, 1));
  int64_t step = 0;
  for (const RunStage stage : kRunStages) {
    client->SetProgress({.step = ++step, .stage = stage});
    proto::Progress seen;
    while (seen.step() != step) {  // the next heartbeat brings it
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      seen = server->state().Status().ranks(0).progress();
    }
    EXPECT_EQ(FromProto(seen.stage()), stage) << RunStageName(stage);
  }
}

TEST(Coordinator, ResumeTakesTheCheckpointsPolicy) {
  const auto server = Started(ServerOptions(FreshPath("resume.log")));
  std::vector<Client> clients = JoinAll(server->address(), 2);
  const auto first = Leading(clients[0].get());
  RunRank(first.get(), 0, 0, 20);
  const auto snapshot = first->Snapshot(20);
  ASSERT_TRUE(snapshot.ok()) << snapshot.status().ToString();
  EXPECT_EQ(snapshot->directives.front().from, 20);
  RunRank(first.get(), 0, 20, 33);  // these steps are lost with the workers
  EXPECT_EQ(first->Snapshot(20).status().code(), absl::StatusCode::kFailedPrecondition);
  Client zombie = std::move(clients[1]);
  clients.clear();

  CoordinatorClientOptions leader = ClientOptions(server->address(), 0, 2);
  leader.incarnation = 2;
  leader.resume_step = 20;
  leader.resume = &*snapshot;
  CoordinatorClientOptions follower = ClientOptions(server->address(), 1, 2);
  follower.incarnation = 2;
  follower.resume_step = 20;
  std::vector<Client> resumed;
  resumed.push_back(Joined(leader));
  EXPECT_EQ(server->state().Status().next_step(), 20);
  EXPECT_EQ(server->state().Status().term(), 2);
  EXPECT_EQ(server->state().Status().view(), 2);
  // The old worker learns that it was replaced and cannot come back.
  EXPECT_EQ(zombie->Await(1000).status().code(), absl::StatusCode::kFailedPrecondition);
  zombie.reset();
  resumed.push_back(Joined(follower));
  const std::vector<int64_t> all = ExpectedPhases(40);
  const std::vector<int64_t> expected(all.begin() + 20, all.end());
  const auto second = Leading(resumed[0].get(), 20, &*snapshot);
  EXPECT_EQ(RunRank(second.get(), 0, 20, 40), expected);
  EXPECT_EQ(RunRank(resumed[1].get(), 1, 20, 40), expected);
}

TEST(Coordinator, SavesWithoutItAndDecidesAlike) {
  auto server = Started(ServerOptions());
  CoordinatorClientOptions options = ClientOptions(server->address(), 0, 1);
  options.grace_s = 3;
  const Client client = Joined(options);
  const auto leader = Leading(client.get());
  RunRank(leader.get(), 0, 0, 15);
  ASSERT_TRUE(leader->Await(16).ok());
  server.reset();
  // Steps that are known already are done; then the coordinator is missed, but not for the state.
  EXPECT_EQ(RunRank(leader.get(), 0, 15, 17).size(), 2u);
  EXPECT_EQ(leader->Await(17).status().code(), absl::StatusCode::kUnavailable);
  const auto snapshot = leader->Snapshot(17);
  ASSERT_TRUE(snapshot.ok()) << snapshot.status().ToString();
  server = Started(ServerOptions());
  CoordinatorClientOptions again = ClientOptions(server->address(), 0, 1);
  again.resume_step = 17;
  again.resume = &*snapshot;
  const Client resumed = Joined(again);
  const std::vector<int64_t> all = ExpectedPhases(40);
  EXPECT_EQ(RunRank(Leading(resumed.get(), 17, &*snapshot).get(), 0, 17, 40),
            std::vector<int64_t>(all.begin() + 17, all.end()));
}

TEST(Coordinator, ADecisionThatReportsDoNotLeadToIsRefused) {
  const auto server = Started(ServerOptions());
  const Client client = Joined(ClientOptions(server->address(), 0, 1));
  const auto other = LeaderSource::Create(
      client.get(), [] { return std::make_unique<RisingLossPolicy>(2); }, 0, nullptr);
  ASSERT_TRUE(other.ok());
  absl::Status status;
  for (int64_t step = 0; step < 40 && status.ok(); ++step) {
    status = (*other)->Await(step).status();
    // What TryAwait gives, ranks agree to follow.
    EXPECT_EQ((*other)->TryAwait(step) != nullptr, status.ok());
    EXPECT_TRUE((*other)->Report(ReportOf(step)).ok());
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("their policies compute different results"));
}

TEST(Coordinator, BindsOnlyWhereItIsSafe) {
  CoordinatorServerOptions options = ServerOptions();
  options.address = "0.0.0.0:0";
  const auto refused = CoordinatorServer::Start(options);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("expected TLS files"));
  options.insecure = true;
  const auto server = Started(options);
  EXPECT_GT(server->port(), 0);
  options.address = Cat("127.0.0.1:", server->port());
  EXPECT_EQ(CoordinatorServer::Start(options).status().code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace blockstep
