// Saves that die: the process is ended before every single operation in turn, with and without what
// a power cut may add; the disk is full at every operation in turn. The last announced checkpoint
// is there and loads every time.
#include <sys/resource.h>
#include <sys/wait.h>

#include <atomic>
#include <csignal>

#include "launcher/checkpoint/manifest.h"
#include "launcher/checkpoint/retention.h"
#include "tests/launcher/checkpoint/checkpoint_fixture.h"
#include "tests/launcher/checkpoint/disk_model.h"
#include "tests/launcher/checkpoint/killed_child.h"

namespace blockstep {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int kRanks = 2;
// Several files of each kind, but few slices: each operation is one run of the test.
SaveOptions Pieces() { return {.max_file_bytes = 60'000}; }

bool AllOk(const std::vector<absl::Status>& statuses) {
  for (const absl::Status& status : statuses) {
    if (!status.ok()) return false;
  }
  return true;
}

class Crash : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directory(root_.path() + "/base");
    ExpectOk(SaveFrom(kRanks, root_.path() + "/base", 10, /*seed=*/10, Pieces()));
    run_ = root_.path() + "/run";
  }
  void Restart() {
    fs::remove_all(run_);
    fs::copy(root_.path() + "/base", run_, fs::copy_options::recursive);
  }
  // The latest checkpoint is of `at_least` or later, whole, and holds what was saved as its step.
  void ExpectLoads(int64_t at_least, const std::string& when) {
    const auto latest = LatestCheckpoint(run_);
    ASSERT_TRUE(latest.ok()) << when << ": " << latest.status();
    EXPECT_GE(latest->step, at_least) << when;
    EXPECT_TRUE(VerifyCheckpoint(latest->folder).ok())
        << when << ": " << VerifyCheckpoint(latest->folder);
    for (const absl::Status& status :
         LoadInto(1, latest->folder, static_cast<uint64_t>(latest->step))) {
      EXPECT_TRUE(status.ok()) << when << ": " << status;
    }
  }
  TemporaryFolder root_;
  std::string run_;
};

enum class Loss { kNone, kData, kDataAndNames };

TEST_F(Crash, KilledBeforeEveryOperation) {
  const auto save = [&](FileHook hook) {
    SaveOptions options = Pieces();
    options.hook = std::move(hook);
    return AllOk(SaveFrom(kRanks, run_, 20, /*seed=*/20, options));
  };
  for (int64_t at = 0;; ++at) {
    ChildResult child;
    for (const Loss loss : {Loss::kNone, Loss::kData, Loss::kDataAndNames}) {
      Restart();
      child = RunAndKill(root_.path() + "/trace", at, save);
      DiskModel disk;
      for (const Traced& t : child.done) disk.Done(t.op, t.writer);
      if (loss != Loss::kNone) disk.LoseData();
      if (loss == Loss::kDataAndNames) disk.LoseNames();
      ExpectLoads(child.killed ? 10 : 20,
                  Cat("killed before operation ", at, ", loss ", static_cast<int>(loss)));
      if (HasFailure()) return;
    }
    // What is left over does not stand in the way of the next save.
    if (at % 5 == 0 || !child.killed) {
      ExpectOk(SaveFrom(1, run_, 20, 20));
      ExpectLoads(20, Cat("saved again after operation ", at));
      EXPECT_FALSE(fs::exists(CheckpointFolder(run_, 20) + ".tmp"));
    }
    if (!child.killed) {
      EXPECT_GT(at, 40);
      return;
    }
  }
}

TEST_F(Crash, KilledWhileOldOnesGo) {
  ExpectOk(SaveFrom(1, root_.path() + "/base", 20, 20));
  ExpectOk(SaveFrom(1, root_.path() + "/base", 30, 30));
  for (int64_t at = 0;; ++at) {
    Restart();
    const ChildResult child = RunAndKill(root_.path() + "/trace", at, [&](FileHook hook) {
      return ApplyRetention(run_, {.keep_last = 1}, std::move(hook)).ok();
    });
    ExpectLoads(30, Cat("killed before operation ", at));
    for (const CheckpointName& name : ListCheckpoints(run_)) {
      EXPECT_TRUE(VerifyCheckpoint(name.folder).ok()) << name.folder;
    }
    if (!child.killed) break;
  }
}

TEST_F(Crash, DiskFullAtEveryOperation) {
  for (int64_t at = 0;; ++at) {
    Restart();
    Recorder recorder;
    std::atomic<bool> failed = false;
    SaveOptions options = Pieces();
    options.hook = recorder.Hook([&](int64_t index) -> absl::Status {
      if (index != at) return absl::OkStatus();
      failed = true;
      return FileError("write", recorder.trace().back().op.path, ENOSPC);
    });
    const auto statuses = SaveFrom(kRanks, run_, 20, 20, options);
    if (!failed) {
      ExpectOk(statuses);
      return;
    }
    ExpectError(statuses, absl::StatusCode::kResourceExhausted, {"rank ", "No space left"});
    ExpectLoads(10, Cat("full at operation ", at));
    // The space is given back, unless the checkpoint had been announced.
    EXPECT_FALSE(fs::exists(CheckpointFolder(run_, 20) + ".tmp")) << at;
    EXPECT_EQ(fs::exists(CheckpointFolder(run_, 20)), LatestCheckpoint(run_)->step == 20) << at;
    if (HasFailure()) return;
  }
}

TEST_F(Crash, RealLimitIsSeenBeforeAnythingIsCopied) {
  Restart();
  const pid_t child = fork();
  CHECK_LE(0, child);
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{20'000, 20'000};
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    const auto statuses = SaveFrom(kRanks, run_, 20, 20);
    for (const absl::Status& status : statuses) {
      const std::string text(status.message());
      const bool named = status.code() == absl::StatusCode::kResourceExhausted &&
                         text.find("cannot allocate") != std::string::npos &&
                         text.find("model.safetensors") != std::string::npos &&
                         text.find("rank 0") != std::string::npos;
      if (!named) _exit(1);
    }
    _exit(0);
  }
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  ExpectLoads(10, "over the limit");
  EXPECT_EQ(std::distance(fs::directory_iterator(run_ + "/checkpoints"), {}), 1);
}

TEST_F(Crash, FsyncThenRenameThenFolderThenManifest) {
  Restart();
  Recorder recorder;
  SaveOptions options = Pieces();
  options.hook = recorder.Hook();
  ExpectOk(SaveFrom(3, run_, 20, 20, options));
  const std::string folder = CheckpointFolder(run_, 20);
  DiskModel disk;
  std::vector<std::string> tail;
  for (const Traced& t : recorder.trace()) {
    if (t.op.kind == FileOpKind::kRename) {
      // Whatever a rename shows must be safe before it.
      EXPECT_THAT(disk.Unsafe(t.op.path), IsEmpty()) << "before " << t.op.path << " was renamed";
    }
    if (t.op.kind == FileOpKind::kRename || !tail.empty()) {
      tail.push_back(Cat(FileOpName(t.op.kind), " ", fs::relative(t.op.path, run_).string()));
    }
    disk.Done(t.op, t.writer);
  }
  EXPECT_THAT(disk.Unsafe(run_), IsEmpty());
  const std::string name = "checkpoints/step-00000020";
  EXPECT_THAT(tail, ElementsAre("rename " + name + ".tmp", "fsync folder checkpoints",
                                "create " + name + "/MANIFEST.json.tmp",
                                "write " + name + "/MANIFEST.json.tmp",
                                "fsync " + name + "/MANIFEST.json.tmp",
                                "rename " + name + "/MANIFEST.json.tmp", "fsync folder " + name));
}

}  // namespace
}  // namespace blockstep
