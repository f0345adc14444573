// A save that goes on beside training holds the bytes of its step: every file of it equals, byte by
// byte, that of a run which stopped for each save. Writers are slowed down, so that many steps and
// switches of the active set fall into one save.
#include <gmock/gmock.h>

#include <chrono>
#include <fstream>

#include "launcher/checkpoint/retention.h"
#include "tests/launcher/checkpoint/checkpoint_fixture.h"
#include "tests/launcher/train/trainer_ranks.h"
#include "tests/sanitized.h"

namespace blockstep::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::map<std::string, std::string>& Policies() {
  static const std::map<std::string, std::string> policies = {
      {"full", "policy { name: full }"},
      {"badam", "policy { name: badam block_steps: 2 embedding_split: 3 }"},
      {"blockllm", "policy { name: blockllm patience: 2 probes_per_step: 2 sparsity: 0.6 }"}};
  return policies;
}

std::string Saves(int64_t every, bool background, int64_t keep = 0) {
  return Cat("checkpoint { every_steps: ", every, " keep: ", keep,
             " background: ", background ? "true" : "false", " }\n");
}

// Name -> bytes of every file below `folder`.
std::map<std::string, std::string> Files(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) {
      files[fs::relative(entry.path(), folder)] = ReadText(entry.path());
    }
  }
  return files;
}

// Each piece of rows that is written takes a while; all else is quick.
FileHook SlowWrites(std::chrono::microseconds pause) {
  return [pause](const FileOp& op) {
    if (op.kind == FileOpKind::kWrite) std::this_thread::sleep_for(pause);
    return absl::OkStatus();
  };
}

void ExpectSameBytes(const std::string& wanted_run, const std::string& run) {
  for (const CheckpointName& name : ListCheckpoints(run)) {
    const auto wanted = Files(CheckpointFolder(wanted_run, name.step));
    const auto found = Files(name.folder);
    EXPECT_GT(wanted.size(), 3u);
    ASSERT_EQ(found.size(), wanted.size()) << name.folder;
    for (const auto& [file, bytes] : wanted) {
      EXPECT_TRUE(found.at(file) == bytes) << "step " << name.step << ": " << file;
    }
  }
}

class BackgroundSaves : public ::testing::TestWithParam<std::string> {};

TEST_P(BackgroundSaves, HoldTheBytesOfTheirStep) {
  const std::string train = Cat("train { steps: 14 }\n", Policies().at(GetParam()), "\n");
  const std::vector<int> numbers = kSanitized ? std::vector{3} : std::vector{1, 2, 3, 4};
  for (const int ranks : numbers) {
    SCOPED_TRACE(Cat(ranks, " ranks"));
    TemporaryFolder root;
    const std::string wanted = root.path() + "/wanted";
    ExpectOk(RunTrainer(SmallConfig(train + Saves(1, false)), wanted, ranks).statuses);
    for (const int64_t every : {1, 5}) {
      if (kSanitized && every == 1) continue;
      const std::string run = Cat(root.path(), "/every", every);
      const TrainerRun found = RunTrainer(SmallConfig(train + Saves(every, true)), run, ranks,
                                          SlowWrites(std::chrono::microseconds(400)));
      ExpectOk(found.statuses);
      EXPECT_EQ(ListCheckpoints(run).size(), every == 1 ? 14u : 3u);
      ExpectSameBytes(wanted, run);
      int64_t staged = 0;
      for (const SaveReport& save : found.saves) staged += save.staged_bytes;
      EXPECT_GT(staged, 0);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Policies, BackgroundSaves, ::testing::Values("full", "badam", "blockllm"));

// Kernels run late and at random times: a copy that does not wait for them holds other bytes.
TEST(BackgroundSave, WaitsForKernelsInFlight) {
  TemporaryFolder root;
  const std::string train = Cat("train { steps: 7 }\n", Policies().at("badam"), "\n");
  ExpectOk(RunTrainer(SmallConfig(train + Saves(1, false)), root.path() + "/wanted", 2).statuses);
  ExpectOk(RunTrainer(SmallConfig(train + Saves(3, true) + "runtime { backend: guarded }"),
                      root.path() + "/run", 2, SlowWrites(std::chrono::microseconds(400)))
               .statuses);
  ExpectSameBytes(root.path() + "/wanted", root.path() + "/run");
}

TEST(BackgroundSave, OverlapsStepsAndSaysWhoWaited) {
  TemporaryFolder root;
  const std::string train = Cat("train { steps: 12 }\n", Policies().at("full"), "\n");
  const TrainerRun run = RunTrainer(SmallConfig(train + Saves(5, true)), root.path() + "/run", 1,
                                    SlowWrites(std::chrono::milliseconds(30)));
  ExpectOk(run.statuses);
  ASSERT_EQ(run.saves.size(), 3u);
  EXPECT_THAT((std::vector<int64_t>{run.saves[0].step, run.saves[1].step, run.saves[2].step}),
              ElementsAre(5, 10, 12));
  EXPECT_GT(run.saves[0].waited_seconds, 0);  // 10 was due before 5 was done
  EXPECT_GE(run.saves[0].stall_seconds, run.saves[0].waited_seconds);
  EXPECT_GT(run.saves[0].seconds, run.saves[0].stall_seconds);  // steps ran beside it
  EXPECT_EQ(run.saves[1].waited_seconds, 0);                    // the run's end waited, not a save
}

// Copies are planned for the phase of a save and one more. Here each step is a phase, so a save is
// told before the second step after it.
TEST(BackgroundSave, IsWaitedForAtItsSecondNewPhase) {
  TemporaryFolder root;
  const TrainConfig config =
      SmallConfig("train { steps: 12 }\npolicy { name: badam block_steps: 1 }\n" + Saves(5, true));
  const TrainerRun run =
      RunTrainer(config, root.path() + "/run", 2, SlowWrites(std::chrono::milliseconds(10)));
  ExpectOk(run.statuses);
  ASSERT_EQ(run.saves.size(), 3u);
  const RankPlan plan = PlanRank(config, ModelOf(config).value(), {.ranks = 2}, 0).value();
  int64_t planned = 0;
  for (const PhasePlan& phase : plan.phases) {
    planned = std::max(planned, phase.bytes[static_cast<size_t>(MemoryClass::kStaging)]);
  }
  for (size_t i = 0; i < run.saves.size(); ++i) {
    EXPECT_LE(run.saves[i].staged_bytes, planned);
    EXPECT_LE(run.steps_at_save[i], run.saves[i].step + 1);
  }
}

TEST(BackgroundSave, AFullDiskIsReportedAndTheRunGoesOn) {
  TemporaryFolder root;
  const std::string folder = root.path() + "/run";
  const std::string train = Cat("train { steps: 12 }\n", Policies().at("badam"), "\n");
  const TrainerRun run =
      RunTrainer(SmallConfig(train + Saves(3, true, /*keep=*/1)), folder, 2, [](const FileOp& op) {
        const bool full = op.path.find("step-00000006") != std::string::npos &&
                          op.path.find(".tmp/state/") != std::string::npos &&
                          op.kind == FileOpKind::kWrite && op.offset > 0;
        return full ? FileError(Cat("write ", op.bytes, " bytes to"), op.path, ENOSPC)
                    : absl::OkStatus();
      });
  ExpectOk(run.statuses);
  ASSERT_EQ(run.saves.size(), 4u);
  EXPECT_EQ(run.saves[1].step, 6);
  EXPECT_EQ(run.saves[1].status.code(), absl::StatusCode::kResourceExhausted);
  for (const char* part : {"rank ", " bytes to ", "step-00000006.tmp/state/", "No space"}) {
    EXPECT_THAT(std::string(run.saves[1].status.message()), HasSubstr(part));
  }
  EXPECT_EQ(run.saves[1].announced, 3);
  EXPECT_TRUE(run.saves[3].status.ok());
  // The space was given back, the rule went on with what was announced.
  EXPECT_EQ(std::distance(fs::directory_iterator(folder + "/checkpoints"), {}), 1);
  EXPECT_EQ(LatestCheckpoint(folder)->step, 12);
}

TEST(BackgroundSave, TheLastStateMustBeSaved) {
  TemporaryFolder root;
  const std::string folder = root.path() + "/run";
  const std::string train = Cat("train { steps: 7 }\n", Policies().at("full"), "\n");
  const TrainerRun run =
      RunTrainer(SmallConfig(train + Saves(3, true)), folder, 2, [](const FileOp& op) {
        const bool full =
            op.path.find("step-00000003") == std::string::npos && op.kind == FileOpKind::kAllocate;
        return full ? FileError("allocate", op.path, ENOSPC) : absl::OkStatus();
      });
  ExpectError(run.statuses, absl::StatusCode::kResourceExhausted,
              {"step 7 was not saved; the last saved step is 3", "rank 0", "model.safetensors"});
  EXPECT_EQ(LatestCheckpoint(folder)->step, 3);
}

}  // namespace
}  // namespace blockstep::testing
