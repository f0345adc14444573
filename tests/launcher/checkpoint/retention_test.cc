#include "launcher/checkpoint/retention.h"

#include "launcher/checkpoint/manifest.h"
#include "tests/launcher/checkpoint/checkpoint_fixture.h"

namespace blockstep {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Retention, KeepsTheLastAndEveryMth) {
  const std::vector<int64_t> steps = {100, 150, 200, 250, 300, 350};
  EXPECT_THAT(StepsToRemove(steps, {.keep_last = 2}), ElementsAre(100, 150, 200, 250));
  EXPECT_THAT(StepsToRemove(steps, {.keep_last = 2, .keep_every = 100}), ElementsAre(150, 250));
  EXPECT_THAT(StepsToRemove(steps, {.keep_last = 9}), IsEmpty());
  EXPECT_THAT(StepsToRemove({}, {.keep_last = 1}), IsEmpty());
}

TEST(Retention, TheLastOneAlwaysStays) {
  for (const int keep_last : {0, -3, 1}) {
    EXPECT_THAT(StepsToRemove({1, 2, 3}, {.keep_last = keep_last}), ElementsAre(1, 2));
  }
  EXPECT_THAT(StepsToRemove({3}, {.keep_last = 0}), IsEmpty());
}

TEST(Retention, RemovesFoldersButNotLeftoversOrTheLast) {
  const TemporaryFolder run;
  for (const int64_t step : {10, 20, 30}) ExpectOk(SaveFrom(1, run.path(), step, 1));
  // Step 40 died before its manifest: 30 is the last announced one and must not go.
  ExpectOk(SaveFrom(1, run.path(), 40, 1));
  std::filesystem::remove(CheckpointFolder(run.path(), 40) + "/" + kManifestName);
  const auto removed = ApplyRetention(run.path(), {.keep_last = 1});
  ASSERT_TRUE(removed.ok()) << removed.status();
  EXPECT_THAT(*removed,
              ElementsAre(CheckpointFolder(run.path(), 10), CheckpointFolder(run.path(), 20)));
  EXPECT_EQ(LatestCheckpoint(run.path())->step, 30);
  EXPECT_FALSE(std::filesystem::exists(CheckpointFolder(run.path(), 10)));
  EXPECT_TRUE(std::filesystem::exists(CheckpointFolder(run.path(), 40)));
}

TEST(Retention, ManifestGoesFirst) {
  const TemporaryFolder run;
  for (const int64_t step : {10, 20}) ExpectOk(SaveFrom(1, run.path(), step, 1));
  std::vector<std::string> order;
  ASSERT_TRUE(ApplyRetention(run.path(), {.keep_last = 1}, [&](const FileOp& op) {
                order.push_back(Cat(FileOpName(op.kind), " ",
                                    std::filesystem::path(op.path).filename().string()));
                return absl::OkStatus();
              }).ok());
  EXPECT_THAT(order, ElementsAre("remove MANIFEST.json", "fsync folder step-00000010",
                                 "remove step-00000010"));
}

TEST(Retention, TheNextSaveRemovesWhatSavesThatDiedLeft) {
  namespace fs = std::filesystem;
  const TemporaryFolder run;
  for (const int64_t step : {10, 20, 30}) ExpectOk(SaveFrom(1, run.path(), step, 1));
  fs::remove(CheckpointFolder(run.path(), 20) + "/" + kManifestName);
  fs::rename(CheckpointFolder(run.path(), 30), CheckpointFolder(run.path(), 30) + ".tmp");
  fs::create_directories(run.path() + "/checkpoints/step-of-mine.tmp");
  ExpectOk(SaveFrom(1, run.path(), 40, 1));
  std::vector<std::string> left;
  for (const auto& entry : fs::directory_iterator(run.path() + "/checkpoints")) {
    left.push_back(entry.path().filename().string());
  }
  EXPECT_THAT(
      left, ::testing::UnorderedElementsAre("step-00000010", "step-00000040", "step-of-mine.tmp"));
}

TEST(Retention, SavesKeepEveryMthForGood) {
  const TemporaryFolder run;
  for (int64_t step = 10; step <= 80; step += 10) {
    ExpectOk(SaveFrom(1, run.path(), step, 1,
                      {.keep = RetentionRule{.keep_last = 2, .keep_every = 30}}));
  }
  std::vector<int64_t> steps;
  for (const CheckpointName& name : ListCheckpoints(run.path())) steps.push_back(name.step);
  EXPECT_THAT(steps, ElementsAre(30, 60, 70, 80));
}

TEST(Latest, OtherNamesAreNotCheckpoints) {
  const TemporaryFolder run;
  EXPECT_TRUE(absl::IsNotFound(LatestCheckpoint(run.path()).status()));
  ExpectOk(SaveFrom(1, run.path(), 10, 1));
  const std::string real = CheckpointFolder(run.path(), 10);
  for (const char* name : {"step-00000020.tmp", "step-20", "step-0000002x", "other"}) {
    std::filesystem::copy(real, run.path() + "/checkpoints/" + name,
                          std::filesystem::copy_options::recursive);
  }
  EXPECT_EQ(LatestCheckpoint(run.path())->folder, real);
  EXPECT_EQ(ListCheckpoints(run.path()).size(), 1u);
}

}  // namespace
}  // namespace blockstep
