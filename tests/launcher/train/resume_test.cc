// A run that continues from a checkpoint, on another number of ranks and in the midst of a phase,
// saves the bytes of the run that was never interrupted: weights, moments, update counters, data
// cursor.
#include "launcher/checkpoint/manifest.h"
#include "launcher/checkpoint/retention.h"
#include "tests/launcher/checkpoint/checkpoint_fixture.h"
#include "tests/launcher/train/trainer_ranks.h"

namespace blockstep::testing {
namespace {

namespace fs = std::filesystem;

class Resume : public ::testing::TestWithParam<std::string> {};

TEST_P(Resume, SavesTheBytesOfTheWholeRun) {
  const TrainConfig config = SmallConfig(
      "train { steps: 12 numerics: slot_exact }\n" +
      std::string("checkpoint { every_steps: 5 keep: 0 background: false }\n") + GetParam());
  const TemporaryFolder root;
  const std::string whole = root.path() + "/whole";
  ExpectOk(RunTrainer(config, whole, 2).statuses);
  for (const int ranks : {1, 2, 3}) {
    const std::string run = Cat(root.path(), "/on", ranks);
    ExpectOk(RunTrainer(config, run, ranks, nullptr, CheckpointFolder(whole, 5)).statuses);
    ASSERT_EQ(ListCheckpoints(run).size(), 2u);
    for (const CheckpointName& name : ListCheckpoints(run)) {
      int files = 0;
      for (const auto& entry : fs::recursive_directory_iterator(name.folder)) {
        // The manifest lists slices as ranks wrote them.
        if (!entry.is_regular_file() || entry.path().filename() == kManifestName) continue;
        const std::string file = fs::relative(entry.path(), name.folder);
        EXPECT_TRUE(ReadText(entry.path()) ==
                    ReadText(CheckpointFolder(whole, name.step) + "/" + file))
            << ranks << " ranks, step " << name.step << ": " << file;
        ++files;
      }
      EXPECT_GT(files, 3);
    }
  }
}

// Step 5 lies inside a phase of either.
INSTANTIATE_TEST_SUITE_P(Policies, Resume,
                         ::testing::Values("policy { name: full }",
                                           "policy { name: badam block_steps: 4 }"));

}  // namespace
}  // namespace blockstep::testing
