// Run under mpirun by ctest. Without arguments: the suite, gradients over MPI, and the two lanes.
// `missing-rank control|data`: a rank that never comes there; `short-message`: one that sends less
// than it should; `singleton`, not under mpirun: what a mismatched MPI looks like.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>

#include "dist/local/local_communicator.h"
#include "tests/dist/communicator_suite.h"
#include "tests/dist/grad_fixture.h"
#include "tests/dist/mpi_test_runtime.h"

namespace blockstep {

MpiRuntime* runtime = nullptr;

namespace {

using namespace std::chrono_literals;

class MpiSuite : public testing::TestWithParam<size_t> {};

TEST_P(MpiSuite, HoldsForControl) { CommunicatorSuite()[GetParam()].body(runtime->control()); }
TEST_P(MpiSuite, HoldsForData) { CommunicatorSuite()[GetParam()].body(runtime->data()); }

INSTANTIATE_TEST_SUITE_P(Mpi, MpiSuite, testing::Range<size_t>(0, CommunicatorSuite().size()),
                         [](const auto& info) { return CommunicatorSuite()[info.param].name; });

// Parts longer than a piece, so that several are in flight; order of addition as ever.
TEST(Mpi, ReduceScatterInPieces) {
  Communicator& c = runtime->data();
  const int n = c.size();
  std::vector<int64_t> offsets(n + 1, 0);
  for (int r = 0; r < n; ++r) offsets[r + 1] = offsets[r] + 300'000 + 70'000 * r;
  const auto value = [](int rank, int64_t i) { return Noise(rank, i); };
  std::vector<float> in(offsets.back());
  for (int64_t i = 0; i < offsets.back(); ++i) in[i] = value(c.rank(), i);
  c.ReduceScatter({{in.data(), in.data() + offsets[c.rank()], offsets}}, "pieces");
  ASSERT_TRUE(c.stream().Synchronize().ok()) << c.stream().status();
  int64_t wrong = 0;
  for (int64_t i = offsets[c.rank()]; i < offsets[c.rank() + 1]; ++i) {
    float want = value(0, i);
    for (int r = 1; r < n; ++r) want += value(r, i);
    wrong += in[i] != want;
  }
  EXPECT_EQ(wrong, 0);
}

TEST(Mpi, SlotExactGradientsHaveTheBitsOfOneRank) {
  const TensorTable table = TinyTable(Tie::kNo);
  const GradCase exact{.numerics = Numerics::kSlotExact, .slots = 7};
  const ActiveSet set{{WholeTensor(table, 0), WholeTensor(table, 2), WholeTensor(table, 3)}};
  auto alone = LocalGroup::Create(1);
  GradRank one(table, exact, PlainCpu(), *alone[0]);
  one.Begin(set);
  one.Step();
  const auto want = one.Reduced();
  GradRank rank(table, exact, PlainCpu(), runtime->data());
  rank.Begin(set);
  rank.Step();
  const auto got = rank.Reduced();
  for (int e = 0; e < 3; ++e) {
    const Range rows = rank.reducer().ReducedRows(e);
    const int64_t cols = table.tensors[set.entries[e].tensor].cols;
    const std::vector<float> mine(want[e].begin() + rows.begin * cols,
                                  want[e].begin() + rows.end * cols);
    EXPECT_EQ(got[e], mine);
  }
}

TEST(Mpi, KnowsThePlaceOnThisMachine) {
  EXPECT_EQ(runtime->local_size(), runtime->group().size());
  EXPECT_EQ(runtime->local_rank(), runtime->group().rank());
  EXPECT_EQ(runtime->machine(), 0);
}

// The call that waits in vain is on `lane`; then one on the other, which fails for the same reason.
int MissingRank(const std::string& lane) {
  auto mpi = MpiRuntime::Create({.timeout = 3s});
  if (!mpi.ok()) return 1;
  const RankGroup group = (*mpi)->group();
  if (group.rank() == 1) {
    std::this_thread::sleep_for(1h);  // mpirun ends this rank when the other one has ended
  } else {
    const bool on_control = lane == "control";
    Communicator& c = on_control ? *group.control : *group.data;
    Communicator& other = on_control ? *group.data : *group.control;
    std::vector<int> data(2);
    c.AllGather({{data.data(), {0, 4, 8}}}, "step 7");
    const auto text = [](const absl::Status& status) {
      return status.ToString(absl::StatusToStringMode::kWithNoExtraData);
    };
    const std::string status = text(c.stream().Synchronize());
    const CommProgress at = c.progress();
    other.Barrier("after it");
    std::printf("%s: %s; progress %s %s%s; the other: %s\n", lane.c_str(), status.c_str(),
                at.op.c_str(), at.what.c_str(), at.running ? ", running" : "",
                text(other.stream().Synchronize()).c_str());
    std::fflush(stdout);
  }
  _exit(1);
}

// Ranks that disagree on the size of a part.
int ShortMessage() {
  auto mpi = MpiRuntime::Create({.timeout = 20s});
  if (!mpi.ok()) return 1;
  Communicator& c = (*mpi)->data();
  std::vector<int> data(4);
  const bool first = c.rank() == 0;
  c.AllGather({{data.data(), {0, 4, first ? 12 : 8}}}, "step 7");
  const absl::Status status = c.stream().Synchronize();
  if (first) {
    std::printf("%s\n", status.ToString().c_str());
    std::fflush(stdout);
    _exit(1);
  }
  std::this_thread::sleep_for(20s);  // mpirun ends it
  _exit(1);
}

int Singleton() {
  const auto mpi =
      MpiRuntime::Create({.launcher_size = 4, .launcher_source = "OMPI_COMM_WORLD_SIZE"});
  std::printf("%s\n", mpi.status().ToString().c_str());
  return mpi.ok() ? 1 : 0;
}

}  // namespace
}  // namespace blockstep

int main(int argc, char** argv) {
  using namespace blockstep;
  if (argc > 2 && std::strcmp(argv[1], "missing-rank") == 0) return MissingRank(argv[2]);
  if (argc > 1 && std::strcmp(argv[1], "short-message") == 0) return ShortMessage();
  if (argc > 1 && std::strcmp(argv[1], "singleton") == 0) return Singleton();
  testing::InitGoogleTest(&argc, argv);
  // Messages are cut at an odd size, so that cutting is tested without gigabytes.
  auto mpi = MpiRuntime::Create({.timeout = 20s, .max_message_bytes = 10'004});
  if (!mpi.ok()) {
    std::fprintf(stderr, "%s\n", mpi.status().ToString().c_str());
    return 1;
  }
  runtime = mpi->get();
  if (runtime->group().rank() > 0) GTEST_FLAG_SET(brief, true);
  const int failed = RUN_ALL_TESTS();
  const absl::Status end = runtime->Finalize();
  if (!end.ok()) std::fprintf(stderr, "%s\n", end.ToString().c_str());
  return failed != 0 || !end.ok() ? 1 : 0;
}
