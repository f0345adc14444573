#include <mutex>

#include "launcher/checkpoint/content_sha256.h"
#include "launcher/checkpoint/manifest.h"
#include "launcher/checkpoint/retention.h"
#include "tests/launcher/checkpoint/checkpoint_fixture.h"

namespace blockstep {
namespace {

using testing::HasSubstr;

// Small files and slices, so that every path has several of both.
SaveOptions SmallPieces() { return {.max_file_bytes = 40'000, .max_slice_bytes = 1000}; }

class Reshard : public testing::TestWithParam<std::tuple<int, int>> {};

TEST_P(Reshard, BitsSurvive) {
  const auto [from, to] = GetParam();
  const TemporaryFolder run;
  ExpectOk(SaveFrom(from, run.path(), 100, /*seed=*/7, SmallPieces()));
  const std::string folder = CheckpointFolder(run.path(), 100);
  EXPECT_TRUE(VerifyCheckpoint(folder).ok()) << VerifyCheckpoint(folder);
  ExpectOk(LoadInto(to, folder, 7));
}
INSTANTIATE_TEST_SUITE_P(Ranks, Reshard,
                         testing::Combine(testing::Values(1, 2, 3, 4),
                                          testing::Values(1, 2, 3, 4)));

TEST(SaveLoad, FilesDoNotDependOnRanks) {
  const TemporaryFolder one, four;
  ExpectOk(SaveFrom(1, one.path(), 5, 3));
  ExpectOk(SaveFrom(4, four.path(), 5, 3));
  for (const char* name : {"model.safetensors", "state/state.safetensors", "trainer_state.pb"}) {
    const std::string a = ReadText(CheckpointFolder(one.path(), 5) + "/" + name);
    EXPECT_FALSE(a.empty());
    EXPECT_EQ(a, ReadText(CheckpointFolder(four.path(), 5) + "/" + name)) << name;
  }
}

TEST(SaveLoad, TrainerStateReturns) {
  const TemporaryFolder run;
  ExpectOk(SaveFrom(2, run.path(), 42, 3));
  ExpectOk(RunRanks(3, [&](Communicator* group) -> absl::Status {
    ASSIGN_OR_RETURN(const auto reader,
                     CheckpointReader::Open(CheckpointFolder(run.path(), 42), group));
    const TrainerState wanted = SomeTrainerState(42);
    const TrainerState& found = reader->trainer();
    EXPECT_EQ(SerializeTrainerState(found), SerializeTrainerState(wanted));
    EXPECT_EQ(found.policy_state, wanted.policy_state);
    EXPECT_EQ(found.counters, wanted.counters);
    EXPECT_EQ(found.directives.at(0).Hash(), wanted.directives.at(0).Hash());
    EXPECT_EQ(found.best_eval_loss, wanted.best_eval_loss);  // infinity
    EXPECT_EQ(reader->states().size(), 9u);
    return absl::OkStatus();
  }));
}

TEST(SaveLoad, StateRowsThatNobodySavedAreNamed) {
  const TemporaryFolder run;
  ExpectOk(SaveFrom(2, run.path(), 1, 3));
  ExpectError(
      RunRanks(2,
               [&](Communicator* group) -> absl::Status {
                 RankState rank(2, group->rank());
                 ASSIGN_OR_RETURN(const auto reader,
                                  CheckpointReader::Open(CheckpointFolder(run.path(), 1), group));
                 std::vector<float> room(64 * 24);
                 const int64_t rows = group->rank() == 0 ? 64 : 0;
                 return reader->LoadStates({{1,
                                             {0, 64},
                                             "m",
                                             StateLayout::kLikeTensor,
                                             TensorView::Of(room.data(), DType::kF32, rows, 24),
                                             0}},
                                           {});
               }),
      absl::StatusCode::kDataLoss, {"rank 0", "q_proj", "expected 64 rows in [0, 64), got 0"});
}

TEST(SaveLoad, TwoRanksThatSaveDifferentThingsAreNamed) {
  const TemporaryFolder run;
  ExpectError(RunRanks(3,
                       [&](Communicator* group) {
                         RankState rank(3, group->rank());
                         if (group->rank() == 2) rank.slices.pop_back();
                         return SaveCheckpoint(run.path(), Contents(rank, 1), group).status();
                       }),
              absl::StatusCode::kFailedPrecondition, {"rank 2", "step 1"});
  EXPECT_TRUE(ListCheckpoints(run.path()).empty());
}

TEST(SaveLoad, AnAnnouncedStepIsNotWrittenAgain) {
  const TemporaryFolder run;
  ExpectOk(SaveFrom(2, run.path(), 9, 1));
  int writes = 0;
  SaveOptions options;
  std::mutex mutex;
  options.hook = [&](const FileOp&) {
    std::lock_guard lock(mutex);
    ++writes;
    return absl::OkStatus();
  };
  ExpectOk(SaveFrom(2, run.path(), 9, 1, options));
  EXPECT_EQ(writes, 0);
}

TEST(SaveLoad, NoRankNumbersInTheManifest) {
  const TemporaryFolder run;
  ExpectOk(SaveFrom(3, run.path(), 9, 1));
  EXPECT_THAT(ReadText(CheckpointFolder(run.path(), 9) + "/MANIFEST.json"),
              testing::Not(HasSubstr("rank")));
}

TEST(StateHash, OneForAnyNumberOfRanks) {
  std::string wanted;
  for (int ranks = 1; ranks <= 4; ++ranks) {
    ExpectOk(RunRanks(ranks, [&](Communicator* group) -> absl::Status {
      RankState rank(ranks, group->rank());
      rank.Fill(11);
      // Entries in another order, as a rule may list its states.
      if (ranks == 2) std::swap(rank.slices[0], rank.slices[1]);
      StateToHash state{rank.slices, SomeTrainerState(1).counters};
      ASSIGN_OR_RETURN(const std::string hash, StateSha256(rank.table, state, {}, group));
      if (ranks == 1) wanted = hash;
      EXPECT_EQ(hash, wanted) << ranks << " ranks";
      const auto differs = [&]() -> absl::Status {
        ASSIGN_OR_RETURN(const std::string other, StateSha256(rank.table, state, {}, group));
        EXPECT_NE(other, wanted) << ranks << " ranks";
        return absl::OkStatus();
      };
      // One bit of the last row of a moment, whoever owns it; then a counter; then no entry at all.
      const StateSlice& last = rank.slices.rbegin()[1];
      if (last.view.rows > 0 && last.row0 + last.view.rows == last.rows.end) {
        last.view.f32(last.view.rows - 1)[0] += 1;
      }
      RETURN_IF_ERROR(differs());
      rank.Fill(11);
      ++state.counters[1].updates;
      RETURN_IF_ERROR(differs());
      state = {};
      return differs();
    }));
  }
}

TEST(WeightsHash, OneForAnyNumberOfRanksAndForTheFiles) {
  const TemporaryFolder run;
  ExpectOk(SaveFrom(3, run.path(), 1, 11, SmallPieces()));
  absl::StatusOr<std::string> wanted = WeightsSha256OfFolder(CheckpointFolder(run.path(), 1));
  ASSERT_TRUE(wanted.ok()) << wanted.status();
  for (int ranks = 1; ranks <= 4; ++ranks) {
    ExpectOk(RunRanks(ranks, [&](Communicator* group) -> absl::Status {
      RankState rank(ranks, group->rank(), /*padding=*/ranks == 2 ? 5 : 0);
      rank.Fill(11);
      ASSIGN_OR_RETURN(const std::string hash, WeightsSha256(rank.Weights(), group));
      EXPECT_EQ(hash, *wanted) << ranks << " ranks";
      // One bit anywhere changes it.
      if (group->rank() == ranks - 1 && rank.OwnedRange(1).size() > 0) rank.Owned(1).f32(0)[3] += 1;
      ASSIGN_OR_RETURN(const std::string other, WeightsSha256(rank.Weights(), group));
      EXPECT_NE(other, *wanted);
      return absl::OkStatus();
    }));
  }
}

}  // namespace
}  // namespace blockstep
