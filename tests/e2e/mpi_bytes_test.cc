// Run under mpirun by ctest: the bytes that this process really handed to MPI, counted by MPI's
// profiling interface, are those that the communicator says it sent, kind by kind and to the byte.
// Beyond them a process sends what carries no data of ours: barriers, MPI's own start and end with
// one MPI_Bcast of 4 bytes per machine, and the headers of messages.
#include <gtest/gtest.h>
#include <mpi.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <iostream>

#include "core/base/str.h"
#include "dist/mpi/mpi_runtime.h"
#include "tests/dist/communicator_suite.h"
#include "tests/e2e/engine_harness.h"

namespace {

// By kind: all-gather, exchange, reduce-scatter (of which each has tags of its own), broadcast.
std::array<std::atomic<int64_t>, 4> sent;

// As MpiCommunicator cuts them.
constexpr int64_t kMaxMessage = 10'004;

}  // namespace

// The program's calls come here, MPI's own inside the library do not.
extern "C" {
int MPI_Isend(const void* data, int count, MPI_Datatype type, int peer, int tag, MPI_Comm comm,
              MPI_Request* request) {
  int size = 0;
  PMPI_Type_size(type, &size);
  sent[tag % 4] += int64_t{count} * size;
  return PMPI_Isend(data, count, type, peer, tag, comm, request);
}

// Counted as if the root sent each of the others its copy, which CommBytes does, too: the tree by
// which it spreads is MPI's.
int MPI_Ibcast(void* data, int count, MPI_Datatype type, int root, MPI_Comm comm,
               MPI_Request* request) {
  int bytes = 0, ranks = 0, rank = 0;
  PMPI_Type_size(type, &bytes);
  PMPI_Comm_size(comm, &ranks);
  PMPI_Comm_rank(comm, &rank);
  if (rank == root) sent[3] += int64_t{count} * bytes * (ranks - 1);
  return PMPI_Ibcast(data, count, type, root, comm, request);
}

// No byte leaves by a way that nobody counts.
#define BLOCKSTEP_REFUSED(name)                                                     \
  {                                                                                 \
    std::fprintf(stderr, "expected MPI_Isend and MPI_Ibcast only, got %s\n", name); \
    std::abort();                                                                   \
  }
int MPI_Send(const void*, int, MPI_Datatype, int, int, MPI_Comm) { BLOCKSTEP_REFUSED("MPI_Send") }
int MPI_Allgather(const void*, int, MPI_Datatype, void*, int, MPI_Datatype, MPI_Comm) {
  BLOCKSTEP_REFUSED("MPI_Allgather")
}
int MPI_Allgatherv(const void*, int, MPI_Datatype, void*, const int*, const int*, MPI_Datatype,
                   MPI_Comm) {
  BLOCKSTEP_REFUSED("MPI_Allgatherv")
}
int MPI_Iallgatherv(const void*, int, MPI_Datatype, void*, const int*, const int*, MPI_Datatype,
                    MPI_Comm, MPI_Request*) {
  BLOCKSTEP_REFUSED("MPI_Iallgatherv")
}
int MPI_Allreduce(const void*, void*, int, MPI_Datatype, MPI_Op, MPI_Comm) {
  BLOCKSTEP_REFUSED("MPI_Allreduce")
}
int MPI_Reduce_scatter(const void*, void*, const int*, MPI_Datatype, MPI_Op, MPI_Comm) {
  BLOCKSTEP_REFUSED("MPI_Reduce_scatter")
}
int MPI_Ireduce_scatter(const void*, void*, const int*, MPI_Datatype, MPI_Op, MPI_Comm,
                        MPI_Request*) {
  BLOCKSTEP_REFUSED("MPI_Ireduce_scatter")
}
}

namespace blockstep::testing {
namespace {

MpiRuntime* runtime = nullptr;

struct Bytes {
  int64_t all_gather, exchange, reduce_scatter, broadcast;
  friend bool operator==(const Bytes&, const Bytes&) = default;
};

void PrintTo(const Bytes& b, std::ostream* out) {
  *out << Cat("all-gather ", b.all_gather, ", exchange ", b.exchange, ", reduce-scatter ",
              b.reduce_scatter, ", broadcast ", b.broadcast);
}

Bytes Since(const Bytes& now, const Bytes& then) {
  return {now.all_gather - then.all_gather, now.exchange - then.exchange,
          now.reduce_scatter - then.reduce_scatter, now.broadcast - then.broadcast};
}

// At rest: nothing is on its way to MPI.
Bytes Really() {
  CHECK_OK(runtime->control().Synchronize());
  CHECK_OK(runtime->data().Synchronize());
  return {sent[0], sent[1], sent[2], sent[3]};
}
Bytes Said() {
  const CommBytes b = runtime->group().bytes_sent();
  return {b.all_gather, b.exchange, b.reduce_scatter, b.broadcast};
}

// All of the conformance suite but a split, whose part counts for itself.
TEST(MpiBytes, OfTheConformanceSuite) {
  for (const auto& c : CommunicatorSuite()) {
    if (c.name == "Split") continue;
    SCOPED_TRACE(c.name);
    const Bytes really = Really(), said = Said();
    c.body(runtime->data());
    EXPECT_EQ(Since(Really(), really), Since(Said(), said));
  }
  const Bytes all = Really();
  EXPECT_GT(all.all_gather, 0);
  EXPECT_GT(all.exchange, 0);
  EXPECT_GT(all.reduce_scatter, 0);
  if (runtime->data().rank() == 0) {
    EXPECT_GT(all.broadcast, 0);
  }
}

TEST(MpiBytes, OfSteps) {
  const RankGroup world = runtime->group();
  for (const Numerics numerics : {Numerics::kFast, Numerics::kSlotExact}) {
    for (const bool pinned : {false, true}) {
      RunSpec spec{.ranks = world.size(),
                   .pinned = std::vector<char>(pinned ? 4 : 0, 1),
                   .policy = {.name = "full"},
                   .steps = 4,
                   .slots = 7,
                   .numerics = numerics};
      SCOPED_TRACE(Cat(numerics == Numerics::kFast ? "fast, " : "slot_exact, ",
                       pinned ? "pinned" : "sharded"));
      const Bytes really = Really(), said = Said();
      const RunOutcome run = RunTrainingRank(spec, world);
      const Bytes steps = Since(Really(), really);
      EXPECT_EQ(steps, Since(Said(), said));
      // The steps alone, which wire_bytes_test holds against the formula; the rest brings the first
      // weights.
      const CommBytes& trained = run.bytes[world.rank()];
      EXPECT_GT(trained.total(), 0);
      EXPECT_EQ(steps.exchange, trained.exchange);
      EXPECT_EQ(steps.reduce_scatter, trained.reduce_scatter);
      EXPECT_EQ(trained.reduce_scatter > 0, numerics == Numerics::kFast);
      EXPECT_GE(steps.all_gather, trained.all_gather);
      if (world.rank() == 0) {
        std::cout << (numerics == Numerics::kFast ? "fast, " : "slot_exact, ")
                  << (pinned ? "pinned" : "sharded") << ": rank 0 of " << world.size()
                  << " really sent " << ::testing::PrintToString(steps) << "\n";
      }
    }
  }
}

}  // namespace
}  // namespace blockstep::testing

int main(int argc, char** argv) {
  using namespace blockstep;
  ::testing::InitGoogleTest(&argc, argv);
  auto mpi =
      MpiRuntime::Create({.timeout = std::chrono::seconds(60), .max_message_bytes = kMaxMessage});
  if (!mpi.ok()) {
    std::fprintf(stderr, "%s\n", mpi.status().ToString().c_str());
    return 1;
  }
  blockstep::testing::runtime = mpi->get();
  if ((*mpi)->data().rank() > 0) GTEST_FLAG_SET(brief, true);
  const int failed = RUN_ALL_TESTS();
  const absl::Status end = (*mpi)->Finalize();
  if (!end.ok()) std::fprintf(stderr, "%s\n", end.ToString().c_str());
  return failed != 0 || !end.ok() ? 1 : 0;
}
