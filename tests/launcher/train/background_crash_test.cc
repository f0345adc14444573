// The process ends in the midst of a save that goes on beside training, before every operation but
// the writes of rows, of which there are many alike (crash_test.cc has each of those).
#include "launcher/checkpoint/retention.h"
#include "tests/launcher/checkpoint/disk_model.h"
#include "tests/launcher/checkpoint/killed_child.h"
#include "tests/launcher/train/trainer_ranks.h"

namespace blockstep::testing {
namespace {

namespace fs = std::filesystem;

constexpr int kRanks = 2;
constexpr std::string_view kOld = "step-00000002", kNew = "step-00000004";

// Two saves beside training; the second removes the first.
TrainConfig Config(bool background) {
  return SmallConfig(Cat("train { steps: 5 }\npolicy { name: badam block_steps: 2 }\n",
                         "checkpoint { every_steps: 2 keep: ", background ? 1 : 0,
                         " background: ", background ? "true" : "false", " }\n"));
}

bool OfNewSave(const FileOp& op) { return op.path.find(kNew) != std::string::npos; }
bool Announces(const FileOp& op) {
  return op.kind == FileOpKind::kRename && op.path.ends_with("MANIFEST.json.tmp");
}
bool Counts(const FileOp& op) {
  return (OfNewSave(op) && op.kind != FileOpKind::kWrite) ||
         (op.kind == FileOpKind::kRemove && op.path.find(kOld) != std::string::npos);
}

// The latest checkpoint is whole, of `at_least` or later, and is what a run that stopped for each
// save has written, byte by byte.
void ExpectLatest(const std::string& run, const std::string& wanted_run, int64_t at_least) {
  const auto latest = LatestCheckpoint(run);
  ASSERT_TRUE(latest.ok()) << latest.status();
  EXPECT_GE(latest->step, at_least);
  EXPECT_TRUE(VerifyCheckpoint(latest->folder).ok()) << VerifyCheckpoint(latest->folder);
  const std::string wanted = CheckpointFolder(wanted_run, latest->step);
  for (const auto& entry : fs::recursive_directory_iterator(wanted)) {
    if (!entry.is_regular_file()) continue;
    const std::string name = fs::relative(entry.path(), wanted);
    EXPECT_TRUE(ReadText(latest->folder + "/" + name) == ReadText(entry.path())) << name;
  }
}

TEST(BackgroundCrash, KilledBeforeEveryOperation) {
  TemporaryFolder root;
  const std::string wanted = root.path() + "/wanted", run = root.path() + "/run";
  ExpectOk(RunTrainer(Config(false), wanted, kRanks).statuses);
  const auto train = [&](FileHook hook) {
    for (const absl::Status& status :
         RunTrainer(Config(true), run, kRanks, std::move(hook)).statuses) {
      if (!status.ok()) return false;
    }
    return true;
  };
  for (int64_t at = 0;; ++at) {
    SCOPED_TRACE(Cat("killed before operation ", at));
    fs::remove_all(run);
    const ChildResult child = RunAndKill(root.path() + "/trace", at, train, Counts);
    if (!child.killed) {
      EXPECT_GT(at, 25);
      return;
    }
    DiskModel disk;
    int64_t announced = 0;
    for (const Traced& t : child.done) {
      disk.Done(t.op, t.writer);
      if (Announces(t.op)) announced = OfNewSave(t.op) ? 4 : 2;
    }
    ExpectLatest(run, wanted, announced);
    disk.LoseData();
    disk.LoseNames();
    // A power cut may take back an announcement whose folder was not fsynced yet; nothing older.
    ExpectLatest(run, wanted, 2);
    if (HasFailure()) return;
  }
}

// The disk is full for one operation of the second save, each in turn: the run goes on, what was
// announced stays, and the space is given back before the next save begins.
TEST(BackgroundCrash, DiskFullAtEveryOperation) {
  TemporaryFolder root;
  const std::string wanted = root.path() + "/wanted", run = root.path() + "/run";
  ExpectOk(RunTrainer(Config(false), wanted, kRanks).statuses);
  for (int64_t at = 0;; ++at) {
    SCOPED_TRACE(Cat("full at operation ", at));
    fs::remove_all(run);
    Recorder recorder;
    int64_t counted = 0;
    bool failed = false, after = false;
    const FileHook hook = recorder.Hook([&](int64_t) -> absl::Status {
      const FileOp& op = recorder.trace().back().op;
      if (op.path.find("step-00000005") != std::string::npos && !after) {
        after = true;
        ExpectLatest(run, wanted, 2);
        EXPECT_FALSE(fs::exists(CheckpointFolder(run, 4) + ".tmp"));
        EXPECT_EQ(fs::exists(CheckpointFolder(run, 4)), LatestCheckpoint(run)->step == 4);
      }
      if (after || !Counts(op) || counted++ != at) return absl::OkStatus();
      failed = true;
      return FileError("write", op.path, ENOSPC);
    });
    const TrainerRun trained = RunTrainer(Config(true), run, kRanks, hook);
    ExpectOk(trained.statuses);
    ASSERT_EQ(trained.saves.size(), 3u);
    const SaveReport& save = trained.saves[1];
    EXPECT_EQ(save.step, 4);
    EXPECT_EQ(save.announced, save.status.ok() ? 4 : 2);
    const absl::Status told = save.status.ok() ? save.info.removal : save.status;
    EXPECT_EQ(told.code(), failed ? absl::StatusCode::kResourceExhausted : absl::StatusCode::kOk)
        << told;
    ExpectLatest(run, wanted, 5);
    if (HasFailure()) return;
    if (!failed) {
      EXPECT_GT(at, 20);
      return;
    }
  }
}

TEST(BackgroundCrash, FsyncThenRenameThenFolderThenManifest) {
  TemporaryFolder root;
  const std::string run = root.path() + "/run";
  Recorder recorder;
  ExpectOk(RunTrainer(Config(true), run, 3, recorder.Hook()).statuses);
  DiskModel disk;
  std::vector<std::string> tail;
  for (const Traced& t : recorder.trace()) {
    if (t.op.kind == FileOpKind::kRename) {
      EXPECT_THAT(disk.Unsafe(t.op.path), ::testing::IsEmpty())
          << "before " << t.op.path << " was renamed";
    }
    const bool renamed = t.op.kind == FileOpKind::kRename && OfNewSave(t.op);
    if (renamed || (!tail.empty() && tail.size() < 8)) {
      tail.push_back(
          Cat(FileOpName(t.op.kind), " ", fs::relative(t.op.path, run + "/checkpoints").string()));
    }
    disk.Done(t.op, t.writer);
  }
  EXPECT_THAT(disk.Unsafe(run), ::testing::IsEmpty());
  const std::string name(kNew);
  EXPECT_THAT(tail,
              ::testing::ElementsAre(
                  "rename " + name + ".tmp", "fsync folder .",
                  "create " + name + "/MANIFEST.json.tmp", "write " + name + "/MANIFEST.json.tmp",
                  "fsync " + name + "/MANIFEST.json.tmp", "rename " + name + "/MANIFEST.json.tmp",
                  "fsync folder " + name, "remove " + std::string(kOld) + "/MANIFEST.json"));
}

}  // namespace
}  // namespace blockstep::testing
