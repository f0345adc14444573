// Servers and clients of a test run, joined or refused, and ranks that step through it.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "launcher/coordinator/leader_source.h"
#include "proto/coordinator.grpc.pb.h"
#include "tests/launcher/coordinator/test_run.h"

namespace blockstep {

using Client = std::unique_ptr<CoordinatorClient>;

inline std::unique_ptr<CoordinatorServer> Started(CoordinatorServerOptions options) {
  auto server = CoordinatorServer::Start(std::move(options));
  EXPECT_TRUE(server.ok()) << server.status().ToString();
  return server.ok() ? std::move(*server) : nullptr;
}

inline Client Joined(CoordinatorClientOptions options) {
  auto client = CoordinatorClient::Connect(std::move(options));
  EXPECT_TRUE(client.ok()) << client.status().ToString();
  return client.ok() ? std::move(*client) : nullptr;
}

// Half of the grace is for a TLS handshake on a slow machine: a mistake shows after that.
inline absl::Status JoinError(CoordinatorClientOptions options) {
  options.grace_s = 4;
  return CoordinatorClient::Connect(std::move(options)).status();
}

inline std::string FreshPath(const std::string& name) {
  const std::string path = Cat(testing::TempDir(), "/blockstep_", getpid(), "_", name);
  for (const char* end : {"", ".lock", ".tmp"}) std::filesystem::remove(path + end);
  return path;
}

// Steps [from, to) of one rank; what it saw.
inline std::vector<int64_t> RunRank(DirectiveSource* client, int rank, int64_t from, int64_t to) {
  std::vector<int64_t> phases;
  for (int64_t step = from; step < to; ++step) {
    const auto directive = client->Await(step);
    EXPECT_TRUE(directive.ok()) << directive.status().ToString();
    if (!directive.ok()) break;
    EXPECT_EQ(directive->sets[0].entries[0].tensor, directive->phase);
    phases.push_back(directive->phase);
    if (rank == 0) {
      EXPECT_TRUE(client->Report(ReportOf(step)).ok());
    }
  }
  return phases;
}

inline std::vector<std::vector<int64_t>> RunRanks(const std::vector<Client>& clients, int64_t from,
                                                  int64_t to) {
  std::vector<std::vector<int64_t>> seen(clients.size());
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < clients.size(); ++rank) {
    threads.emplace_back(
        [&, rank] { seen[rank] = RunRank(clients[rank].get(), static_cast<int>(rank), from, to); });
  }
  for (std::thread& thread : threads) thread.join();
  return seen;
}

inline std::unique_ptr<LeaderSource> Leading(CoordinatorClient* client, int64_t resume_step = 0,
                                             const PolicySnapshot* resume = nullptr) {
  auto leader = LeaderSource::Create(
      client, [] { return std::make_unique<RisingLossPolicy>(1); }, resume_step, resume);
  EXPECT_TRUE(leader.ok()) << leader.status().ToString();
  return leader.ok() ? std::move(*leader) : nullptr;
}

inline std::vector<Client> JoinAll(const std::string& address, int world) {
  std::vector<Client> clients;
  for (int rank = 0; rank < world; ++rank) {
    clients.push_back(Joined(ClientOptions(address, rank, world)));
  }
  return clients;
}

inline std::unique_ptr<proto::Coordinator::Stub> RawStub(const CoordinatorServer& server) {
  return proto::Coordinator::NewStub(MakeChannel({.address = server.address()}));
}

struct RawCall {
  // Until it has connected: a handshake may be given up and tried again on a slow machine.
  explicit RawCall() {
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    context.set_wait_for_ready(true);
  }
  grpc::ClientContext context;
};

inline proto::Identity IdentityOf(int64_t term, int64_t incarnation = 1, int rank = 0) {
  proto::Identity id;
  id.set_run_id("run-1");
  id.set_term(term);
  id.set_view(1);
  id.set_rank(rank);
  id.set_incarnation(incarnation);
  id.set_build("build-1");
  id.set_config_hash("hash-1");
  return id;
}

}  // namespace blockstep
