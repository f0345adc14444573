// How a run ends: asked to stop before, in and after its last step; too many bad steps in a row.
#include <gmock/gmock.h>

#include "launcher/checkpoint/retention.h"
#include "tests/launcher/checkpoint/checkpoint_fixture.h"
#include "tests/launcher/train/trainer_ranks.h"

namespace blockstep::testing {
namespace {

using ::testing::HasSubstr;

TEST(RunEnd, AStopInTheLastStepIsTheEnd) {
  for (const int64_t asked : {1, 2}) {
    TemporaryFolder root;
    const TrainerRun run = RunTrainer(
        SmallConfig("train { steps: 3 }\ncheckpoint { every_steps: 3 }\n"), root.path() + "/run", 2,
        nullptr, "", [&](int64_t step) { return step == asked; });
    ExpectOk(run.statuses);
    EXPECT_EQ(run.outcome.end, asked == 2 ? TrainEnd::kFinished : TrainEnd::kStopped);
    EXPECT_EQ(run.outcome.step, asked + 1);
    EXPECT_EQ(run.saves.size(), 1u);
    EXPECT_EQ(LatestCheckpoint(root.path() + "/run")->step, asked + 1);
  }
}

// A huge update makes the steps after it non-finite.
TrainOutcome Diverge(int64_t max_bad_steps) {
  TemporaryFolder root;
  TrainConfig config = SmallConfig(Cat("train { steps: 20 max_bad_steps: ", max_bad_steps, " }\n"));
  config.optimizer.lr = 1e30;
  const TrainerRun run = RunTrainer(config, root.path() + "/run", 2);
  ExpectOk(run.statuses);
  EXPECT_EQ(LatestCheckpoint(root.path() + "/run")->step, run.outcome.step);
  return run.outcome;
}

TEST(RunEnd, AfterThatManyBadStepsInARowAndNoMore) {
  const TrainOutcome one = Diverge(1);
  EXPECT_EQ(one.end, TrainEnd::kNonFinite);
  EXPECT_THAT(one.why, HasSubstr("1 step with non-finite losses"));
  const TrainOutcome three = Diverge(3);
  EXPECT_EQ(three.end, TrainEnd::kNonFinite);
  EXPECT_EQ(three.step, one.step + 2);
  EXPECT_THAT(three.why, HasSubstr(Cat("3 consecutive steps with non-finite losses or gradients; "
                                       "last finite step: ",
                                       one.step - 2)));
}

}  // namespace
}  // namespace blockstep::testing
