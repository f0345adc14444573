// Strangers at the door of a run that is under way, over mutual TLS: each is refused by name, and
// after each one the run has gone on.
#include <atomic>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "launcher/coordinator/call_status.h"
#include "tests/launcher/coordinator/client_runs.h"
#include "tests/launcher/coordinator/raw_wire.h"

namespace blockstep {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

constexpr int kRanks = 2;

class BadPeers : public testing::Test {
 protected:
  void SetUp() override {
    auto certs = MakeCertificates({});
    ASSERT_TRUE(certs.ok());
    certs_ = *certs;
    CoordinatorServerOptions options = ServerOptions(FreshPath("bad_peers.log"));
    Started(options).reset();  // so that the run is in term 2, and term 1 is stale
    options.tls = certs_.server;
    options.http_address = "127.0.0.1:0";
    server_ = Started(options);
    for (int rank = 0; rank < kRanks; ++rank) {
      CoordinatorClientOptions client = ClientOptions(server_->address(), rank, kRanks);
      client.channel.tls = certs_.client;
      clients_.push_back(Joined(client));
    }
    seen_.resize(kRanks);
    for (int rank = 0; rank < kRanks; ++rank) threads_.emplace_back([this, rank] { Rank(rank); });
  }

  void TearDown() override {
    over_ = true;
    for (std::thread& thread : threads_) thread.join();
    for (const auto& phases : seen_) {
      EXPECT_EQ(phases, ExpectedPhases(static_cast<int64_t>(phases.size())));
    }
    EXPECT_EQ(server_->state().Status().ranks_size(), kRanks);
    EXPECT_EQ(server_->state().Status().term(), 2);
  }

  void Rank(int rank) {
    for (int64_t step = 0; !over_; ++step) {
      const auto directive = clients_[rank]->Await(step);
      ASSERT_TRUE(directive.ok()) << directive.status().ToString();
      seen_[rank].push_back(directive->phase);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      if (rank == 0) {
        ASSERT_TRUE(clients_[rank]->Report(ReportOf(step)).ok());
      }
    }
  }

  // The run does more steps than were under way.
  void ExpectItGoesOn() {
    const int64_t from = server_->state().Status().next_step();
    for (int i = 0; i < 3000 && server_->state().Status().next_step() < from + 3; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    EXPECT_GE(server_->state().Status().next_step(), from + 3);
  }

  ChannelOptions Channel(const TlsIdentity& tls) const {
    return {.address = server_->address(), .tls = tls, .keepalive_s = 1};
  }
  absl::Status Join(const std::function<void(CoordinatorClientOptions&)>& change) const {
    CoordinatorClientOptions options = ClientOptions(server_->address(), 1, kRanks);
    options.channel.tls = certs_.client;
    options.grace_s = 20;  // a mistake in TLS shows after two seconds of it
    change(options);
    return CoordinatorClient::Connect(options).status();
  }
  absl::Status Report(const std::function<void(proto::ReportRequest&)>& change) const {
    proto::ReportRequest request;
    *request.mutable_identity() = IdentityOf(2);
    change(request);
    proto::ReportReply reply;
    RawCall call;
    return FromGrpc(proto::Coordinator::NewStub(MakeChannel(Channel(certs_.client)))
                        ->Report(&call.context, request, &reply),
                    "report");
  }
  absl::Status Bytes(const std::string& bytes) const {
    return FromGrpc(
        CallBytes(Channel(certs_.client), "/blockstep.proto.Coordinator/Report", bytes).status,
        "bytes");
  }

  CertificateSet certs_;
  std::unique_ptr<CoordinatorServer> server_;
  std::vector<Client> clients_;
  std::vector<std::thread> threads_;
  std::vector<std::vector<int64_t>> seen_;
  std::atomic<bool> over_{false};
};

TEST_F(BadPeers, AreRefusedByNameAndTheRunGoesOn) {
  const auto other = MakeCertificates({});
  ASSERT_TRUE(other.ok());
  struct Peer {
    std::string name;
    std::function<absl::Status()> comes;
    StatusCode code;
    std::string text;
  };
  const Peer table[] = {
      {"joins with another build", [&] { return Join([](auto& o) { o.build = "build-2"; }); },
       StatusCode::kFailedPrecondition, "build: expected build-1, got build-2"},
      {"joins another run", [&] { return Join([](auto& o) { o.run_id = "run-2"; }); },
       StatusCode::kFailedPrecondition, "run_id: expected run-1, got run-2"},
      {"joins with another configuration",
       [&] { return Join([](auto& o) { o.config_hash = "hash-2"; }); },
       StatusCode::kFailedPrecondition, "config_hash: expected hash-1, got hash-2"},
      {"calls with another build",
       [&] { return Report([](auto& r) { r.mutable_identity()->set_build("build-2"); }); },
       StatusCode::kFailedPrecondition, "build: expected build-1, got build-2"},
      {"calls with another configuration",
       [&] { return Report([](auto& r) { r.mutable_identity()->set_config_hash("hash-2"); }); },
       StatusCode::kFailedPrecondition, "config_hash: expected hash-1, got hash-2"},
      {"calls another run",
       [&] { return Report([](auto& r) { r.mutable_identity()->set_run_id("run-2"); }); },
       StatusCode::kFailedPrecondition, "run_id: expected run-1, got run-2"},
      {"comes from an earlier term",
       [&] { return Report([](auto& r) { r.mutable_identity()->set_term(1); }); },
       StatusCode::kAborted, "term 1"},
      {"comes from an earlier membership",
       [&] { return Report([](auto& r) { r.mutable_identity()->set_view(0); }); },
       StatusCode::kAborted, "view 0"},
      {"was replaced",
       [&] { return Report([](auto& r) { r.mutable_identity()->set_incarnation(0); }); },
       StatusCode::kFailedPrecondition, "incarnation: expected 1, got 0"},
      {"reports without leading",
       [&] { return Report([](auto& r) { r.mutable_identity()->set_rank(1); }); },
       StatusCode::kFailedPrecondition, "expected the leader"},
      {"is a second process of a rank", [&] { return Join([](auto&) {}); },
       StatusCode::kAlreadyExists, "another process of this rank is alive"},
      {"speaks without TLS", [&] { return Join([](auto& o) { o.channel.tls = {}; }); },
       StatusCode::kUnauthenticated, ""},
      {"has no certificate",
       [&] {
         return Join(
             [&](auto& o) { o.channel.tls = {.ca = certs_.client.ca, .cert = "", .key = ""}; });
       },
       StatusCode::kUnauthenticated, ""},
      {"has another authority's certificate",
       [&] {
         return Join([&](auto& o) {
           o.channel.tls = other->client;
           o.channel.tls.ca = certs_.client.ca;
         });
       },
       StatusCode::kUnauthenticated, ""},
      {"trusts another authority",
       [&] { return Join([&](auto& o) { o.channel.tls.ca = other->client.ca; }); },
       StatusCode::kUnauthenticated, ""},
      {"sends a message over the limit",
       [&] { return Bytes(std::string(kMaxMessageBytes + 1, 'x')); },
       StatusCode::kResourceExhausted, "larger than max"},
      {"sends what is no message", [&] { return Bytes(std::string(4096, '\xA5')); },
       StatusCode::kUnimplemented, ""},  // so gRPC answers what it cannot parse
      {"sends numbers that mean nothing",
       [&] { return Report([](auto& r) { r.mutable_report()->add_norms()->set_role(99); }); },
       StatusCode::kInvalidArgument, "role"},
  };
  for (const Peer& peer : table) {
    SCOPED_TRACE("a peer that " + peer.name);
    const absl::Status status = peer.comes();
    EXPECT_EQ(status.code(), peer.code) << status.ToString();
    EXPECT_THAT(std::string(status.message()), HasSubstr(peer.text));
    ExpectItGoesOn();
  }
}

TEST_F(BadPeers, NoiseOnThePortsEndsItsConnectionOnly) {
  const std::string noise(65536, '\xA5');
  SendToPort(server_->port(), noise);
  ExpectItGoesOn();
  SendToPort(server_->port(), "GET / HTTP/1.1\r\n\r\n");
  ExpectItGoesOn();
  EXPECT_THAT(SendToPort(server_->http_port(), noise + "\r\n\r\n"), HasSubstr("HTTP/1.1 4"));
  ExpectItGoesOn();
  EXPECT_THAT(SendToPort(server_->http_port(),
                         "GET /status HTTP/1.1\r\nX: " + std::string(100000, 'x') + "\r\n\r\n"),
              HasSubstr("HTTP/1.1 4"));
  ExpectItGoesOn();
  EXPECT_THAT(SendToPort(server_->http_port(),
                         "POST /status HTTP/1.1\r\nContent-Length: 99999999\r\n"
                         "Connection: close\r\n\r\n"),
              HasSubstr("HTTP/1.1 4"));
  ExpectItGoesOn();
}

TEST(Coordinator, AnswersHealthChecksAndReflectionInDebugOnly) {
  const auto server = Started(ServerOptions());
  const auto health = [&](const std::string& service) {
    const std::string request =
        service.empty() ? "" : Cat("\x0a", static_cast<char>(service.size()), service);
    return CallBytes({.address = server->address()}, "/grpc.health.v1.Health/Check", request);
  };
  const std::string serving("\x08\x01");  // field 1, SERVING
  EXPECT_EQ(health("").bytes, serving);
  EXPECT_EQ(health("blockstep.proto.Coordinator").bytes, serving);
  EXPECT_EQ(health("another").status.error_code(), grpc::StatusCode::NOT_FOUND);

  const auto listed = CallBytes({.address = server->address()},
                                "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                                std::string("\x3a\x00", 2));  // field 7, list_services
#ifdef BLOCKSTEP_GRPC_REFLECTION
  EXPECT_THAT(listed.bytes, HasSubstr("blockstep.proto.Coordinator"));
#else
  EXPECT_EQ(listed.status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
#endif
}

}  // namespace
}  // namespace blockstep
