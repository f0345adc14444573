#include "launcher/checkpoint/run_folder.h"

#include "launcher/checkpoint/retention.h"
#include "launcher/config/train_config.h"
#include "tests/launcher/checkpoint/checkpoint_fixture.h"

namespace blockstep {
namespace {

using testing::HasSubstr;

class RunFolderTest : public testing::Test {
 protected:
  RunFolderOptions Options(const std::string& name, const std::string& resume = "",
                           const std::string& lr = "0.001") {
    return {.path = root_.path() + "/" + name,
            .resume = resume,
            .config_text = "lr: " + lr + "\nshow: true\n",
            .maths_text = "layers: 2\nlr: " + lr + "\n",
            .config_hash = "hash-of-" + lr,
            .new_id = [this] { return Cat("id-", ++ids_); }};
  }
  absl::StatusOr<RunFolder> Open(const RunFolderOptions& options, int ranks = 2) {
    std::vector<RunFolder> runs(static_cast<size_t>(ranks));
    const auto statuses = RunRanks(ranks, [&](Communicator* group) -> absl::Status {
      ASSIGN_OR_RETURN(runs[static_cast<size_t>(group->rank())], OpenRunFolder(options, group));
      return absl::OkStatus();
    });
    for (const absl::Status& status : statuses) EXPECT_EQ(status.code(), statuses[0].code());
    RETURN_IF_ERROR(statuses[0]);
    for (const RunFolder& run : runs) {
      EXPECT_EQ(run.run_id, runs[0].run_id);
      EXPECT_EQ(run.resume_from, runs[0].resume_from);
    }
    return runs[0];
  }
  // A checkpoint of `step` in `run`, as its run_id and config_hash.
  void Save(const RunFolder& run, int64_t step, const std::string& hash) {
    ExpectOk(RunRanks(1, [&](Communicator* group) {
      RankState rank(1, 0);
      CheckpointContents contents = Contents(rank, step);
      contents.trainer.run_id = run.run_id;
      contents.trainer.config_hash = hash;
      return SaveCheckpoint(run.path, contents, group).status();
    }));
  }
  TemporaryFolder root_;
  int ids_ = 0;
};

TEST_F(RunFolderTest, FreshRunIsNeverOverwritten) {
  const auto run = Open(Options("deep/er/run"));
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->run_id, "id-1");
  EXPECT_EQ(run->resume_from, "");
  EXPECT_EQ(ReadText(run->path + "/config.txt"), "lr: 0.001\nshow: true\n");
  const std::string before = ReadText(run->path + "/run.json");

  const auto again = Open(Options("deep/er/run"));
  EXPECT_EQ(again.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(again.status().message()), HasSubstr("--resume auto"));
  EXPECT_THAT(std::string(again.status().message()), HasSubstr("deep/er/run"));
  EXPECT_EQ(ReadText(run->path + "/run.json"), before);
}

TEST_F(RunFolderTest, SomebodyElsesFolderIsLeftAlone) {
  WriteText(root_.path() + "/home/thesis.tex", "text");
  for (const char* resume : {"", "auto"}) {
    const auto run = Open(Options("home", resume));
    EXPECT_EQ(run.status().code(), absl::StatusCode::kAlreadyExists) << run.status();
  }
  EXPECT_FALSE(std::filesystem::exists(root_.path() + "/home/run.json"));
}

TEST_F(RunFolderTest, OneStartAtATimeWorksInIt) {
  std::optional<RunLock> first(std::in_place);
  RunLock second, third;
  RunFolderOptions options = Options("run", "auto");
  options.lock = &*first;
  ASSERT_TRUE(Open(options).ok());
  options.lock = &second;
  options.lock_wait_s = 0.1;
  const auto refused = Open(options);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("/run: in use by process"));
  EXPECT_THAT(std::string(refused.status().message()),
              HasSubstr(Cat("process ", getpid(), " on ")));
  // One that is about to end is waited for.
  options.lock = &third;
  options.lock_wait_s = 60;
  std::thread ending([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    first.reset();
  });
  EXPECT_TRUE(Open(options).ok());
  ending.join();
}

TEST_F(RunFolderTest, AStartThatDiedBeforeItWasARunIsInNobodysWay) {
  WriteText(root_.path() + "/run/run.lock", "");
  EXPECT_TRUE(Open(Options("run")).ok());
}

TEST_F(RunFolderTest, WhatARefusedStartWroteIsTakenBack) {
  const auto opened_and_refused = [&](RunFolderOptions options) {
    RunFolderUndo undo;
    options.undo = &undo;
    std::vector<absl::Status> statuses =
        RunRanks(1, [&](Communicator* group) { return OpenRunFolder(options, group).status(); });
    EXPECT_TRUE(statuses[0].ok()) << statuses[0];
    EXPECT_TRUE(std::filesystem::exists(options.path + "/run.json"));
  };
  opened_and_refused(Options("deep/er/run"));
  EXPECT_FALSE(std::filesystem::exists(root_.path() + "/deep"));

  const auto first = Open(Options("run"));
  ASSERT_TRUE(first.ok());
  Save(*first, 30, "hash-of-0.001");
  const std::string run = ReadText(first->path + "/run.json");
  RunFolderOptions changed = Options("run", "auto", "0.002");
  changed.allow_config_change = true;
  opened_and_refused(changed);
  EXPECT_EQ(ReadText(first->path + "/run.json"), run);
  EXPECT_EQ(ReadText(first->path + "/config.txt"), "lr: 0.001\nshow: true\n");
  EXPECT_FALSE(std::filesystem::exists(first->path + "/config-" + first->run_id + ".txt"));
  EXPECT_EQ(ListCheckpoints(first->path).size(), 1u);
}

TEST_F(RunFolderTest, AutoStartsAndContinues) {
  const auto first = Open(Options("run", "auto"));
  ASSERT_TRUE(first.ok()) << first.status();
  const auto nothing_saved = Open(Options("run", "auto"));
  ASSERT_TRUE(nothing_saved.ok());
  EXPECT_EQ(nothing_saved->resume_from, "");
  EXPECT_EQ(nothing_saved->run_id, first->run_id);
  Save(*first, 30, "hash-of-0.001");
  Save(*first, 40, "hash-of-0.001");
  const auto continued = Open(Options("run", "auto"), 3);
  ASSERT_TRUE(continued.ok());
  EXPECT_EQ(continued->run_id, first->run_id);
  EXPECT_EQ(continued->resume_step, 40);
  EXPECT_EQ(continued->resume_from, CheckpointFolder(first->path, 40));
}

TEST_F(RunFolderTest, ChangedMathsNeedsTheFlagAndRecordsTheParent) {
  const auto first = Open(Options("run"));
  ASSERT_TRUE(first.ok());
  Save(*first, 30, "hash-of-0.001");
  RunFolderOptions changed = Options("run", "auto", "0.002");
  const auto refused = Open(changed);
  EXPECT_TRUE(absl::IsInvalidArgument(refused.status()));
  EXPECT_THAT(std::string(refused.status().message()),
              testing::EndsWith("the configuration has changed:\n- lr: 0.001\n+ lr: 0.002\n"
                                "to continue anyway, as a new run_id, pass --allow-config-change "
                                "(incompatible policy state is reset)"));

  changed.allow_config_change = true;
  const auto allowed = Open(changed);
  ASSERT_TRUE(allowed.ok()) << allowed.status();
  EXPECT_NE(allowed->run_id, first->run_id);
  EXPECT_EQ(allowed->parent_run_id, first->run_id);
  EXPECT_EQ(allowed->maths_change, "- lr: 0.001\n+ lr: 0.002\n");
  EXPECT_EQ(allowed->resume_step, 30);
  EXPECT_EQ(ReadText(allowed->path + "/config-" + first->run_id + ".txt"),
            "lr: 0.001\nshow: true\n");
  // From now on the new maths is the run's.
  const auto next = Open(Options("run", "auto", "0.002"));
  ASSERT_TRUE(next.ok());
  EXPECT_EQ(next->run_id, allowed->run_id);
}

// What version 1 of the maths text called sha256 is a sampled digest: the same maths in other
// words.
TEST_F(RunFolderTest, ARunOfAnEarlierBuildIsTheSameMaths) {
  const std::string was =
      "model.hidden_size: 8\nmodel.weights: 1 file, sha256 aa\n"
      "data.train[0]: 9 tokens, sha256 bb\ntrain.steps: 1\n";
  const std::string now =
      "model.hidden_size: 8\nmodel.weights: 1 file, sampled sha256 aa\n"
      "data.train[0]: 9 tokens, sampled sha256 bb\ntrain.steps: 1\n";
  RunFolderOptions options = Options("run");
  options.maths_text = was;
  options.config_hash = HashOfText(was);
  const auto first = Open(options);
  ASSERT_TRUE(first.ok()) << first.status();
  Save(*first, 30, HashOfText(was));
  std::string json = ReadText(first->path + "/run.json");
  const std::string version = "\"maths_version\": 2,";
  ASSERT_NE(json.find(version), std::string::npos) << json;
  WriteText(first->path + "/run.json", json.erase(json.find(version), version.size()));

  options.maths_text = now;
  options.config_hash = HashOfText(now);
  options.resume = "auto";
  const auto continued = Open(options);
  ASSERT_TRUE(continued.ok()) << continued.status();
  EXPECT_EQ(continued->run_id, first->run_id);
  EXPECT_EQ(continued->maths_change, "");
  options.path = root_.path() + "/fork";
  options.resume = first->path;
  const auto fork = Open(options);
  ASSERT_TRUE(fork.ok()) << fork.status();
  EXPECT_EQ(fork->maths_change, "");
  // Other data are another maths all the same, in today's words.
  options.resume = "auto";
  options.path = first->path;
  options.maths_text.replace(options.maths_text.find("bb"), 2, "cc");
  options.config_hash = HashOfText(options.maths_text);
  EXPECT_THAT(std::string(Open(options).status().message()),
              HasSubstr("- data.train[0]: 9 tokens, sampled sha256 bb\n"
                        "+ data.train[0]: 9 tokens, sampled sha256 cc\n"));
}

TEST_F(RunFolderTest, ForkFromACheckpointOrARun) {
  const auto first = Open(Options("run"));
  ASSERT_TRUE(first.ok());
  Save(*first, 30, "hash-of-0.001");
  const auto by_run = Open(Options("fork1", first->path));
  const auto by_checkpoint = Open(Options("fork2", CheckpointFolder(first->path, 30) + "/"));
  for (const auto& fork : {by_run, by_checkpoint}) {
    ASSERT_TRUE(fork.ok()) << fork.status();
    EXPECT_EQ(fork->parent_run_id, first->run_id);
    EXPECT_EQ(fork->resume_step, 30);
  }
  // It died before a save of its own: it starts from the parent's checkpoint again.
  const auto again = Open(Options("fork1", "auto"));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->resume_from, CheckpointFolder(first->path, 30));
  EXPECT_EQ(again->run_id, by_run->run_id);

  const auto missing = Open(Options("fork3", root_.path() + "/nowhere"));
  EXPECT_TRUE(absl::IsNotFound(missing.status()));
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr("nowhere"));
  EXPECT_FALSE(std::filesystem::exists(root_.path() + "/fork3/run.json"));
  const auto other_maths = Open(Options("fork4", first->path, "0.002"));
  EXPECT_THAT(std::string(other_maths.status().message()), HasSubstr("+ lr: 0.002"));
}

TEST_F(RunFolderTest, ALockedFolderWithoutARunIsTakenOnlyIfItIsOurs) {
  // Of a start that was killed before it was a run; the same beside something of somebody else's.
  for (const std::string folder : {"ours", "home"}) {
    WriteText(root_.path() + "/" + folder + "/run.lock", "process 1 on h");
    WriteText(root_.path() + "/" + folder + "/config.txt", "lr: 1\n");
  }
  WriteText(root_.path() + "/home/thesis.tex", "text");
  EXPECT_TRUE(Open(Options("ours", "auto")).ok());
  EXPECT_EQ(Open(Options("home", "auto")).status().code(), absl::StatusCode::kAlreadyExists);
}

// Both look at an empty folder; the second one gets the lock, or gives up, when the first has begun
// its run there, and leaves that run alone.
TEST_F(RunFolderTest, TwoStartsAtOnceDoNotUndoEachOther) {
  for (const double wait_s : {0.4, 60.0}) {
    const std::string name = Cat("run", wait_s);
    std::optional<RunLock> first(std::in_place);
    std::filesystem::create_directories(root_.path() + "/" + name);
    ASSERT_TRUE(first->Take(root_.path() + "/" + name, 0).ok());
    std::thread other([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      WriteText(root_.path() + "/" + name + "/run.json", "another's");
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
      first.reset();
    });
    RunLock second;
    {
      RunFolderUndo undo;
      RunFolderOptions options = Options(name);
      options.undo = &undo;
      options.lock = &second;
      options.lock_wait_s = wait_s;
      EXPECT_FALSE(Open(options, 1).ok());
    }
    other.join();
    EXPECT_EQ(ReadText(root_.path() + "/" + name + "/run.json"), "another's");
  }
}

TEST_F(RunFolderTest, RanksThatSeeAnotherFolderAreNamed) {
  const auto statuses = RunRanks(4, [&](Communicator* group) {
    const bool elsewhere = group->rank() == 1 || group->rank() == 3;
    const std::string folder = root_.path() + (elsewhere ? "/b" : "/a");
    std::filesystem::create_directories(folder);
    return ProveSharedFolder(folder, "abc", group);
  });
  ExpectError(statuses, absl::StatusCode::kFailedPrecondition, {"rank(s) 1, 3", "share"});
  EXPECT_TRUE(std::filesystem::is_empty(root_.path() + "/a"));
}

TEST(RandomHex, IsLongAndDiffers) {
  EXPECT_EQ(RandomHex128().size(), 32u);
  EXPECT_NE(RandomHex128(), RandomHex128());
}

}  // namespace
}  // namespace blockstep
