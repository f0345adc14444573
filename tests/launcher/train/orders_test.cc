// What people and a lost coordinator make a run do between its steps.
#include <gmock/gmock.h>

#include <atomic>

#include "launcher/cli/exit_codes.h"
#include "tests/launcher/checkpoint/checkpoint_fixture.h"
#include "tests/launcher/train/trainer_ranks.h"

namespace blockstep::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const char kTrain[] = "train { steps: 12 }\npolicy { name: badam block_steps: 4 }\n";

std::vector<int64_t> SavedSteps(const TrainerRun& run) {
  std::vector<int64_t> steps;
  for (const SaveReport& save : run.saves) {
    EXPECT_TRUE(save.status.ok()) << save.status.ToString();
    steps.push_back(save.step);
  }
  return steps;
}

// Ranks hear of an order at different steps, or never: each order is one save, at one step.
TEST(SaveOrders, EachIsCarriedOutOnceByAllRanks) {
  TemporaryFolder root;
  const TrainerRun run =
      RunTrainer(SmallConfig(kTrain), root.path() + "/run", 3, nullptr, "", nullptr,
                 [](int rank, TrainerOptions&, ScriptedControl& control) {
                   control.saves = [rank, step = int64_t{0}]() mutable -> int64_t {
                     ++step;  // polled once in a step
                     if (rank == 0) return step >= 4 ? 1 : 0;
                     if (rank == 1) return step >= 9 ? 2 : step >= 6 ? 1 : 0;
                     return 0;
                   };
                 });
  for (const absl::Status& status : run.statuses) EXPECT_TRUE(status.ok()) << status.ToString();
  EXPECT_THAT(SavedSteps(run), ElementsAre(4, 9, 12));
  // A run that saves at no step by its configuration has no staging in its plan.
  for (const SaveReport& save : run.saves) EXPECT_EQ(save.staged_bytes, 0) << save.step;
}

// A coordinator that is gone from some step on.
class GoneFrom : public DirectiveSource {
 public:
  GoneFrom(DirectiveSource* source, int64_t step) : source_(source), step_(step) {}
  absl::StatusOr<Directive> Await(int64_t step) override {
    if (step >= step_) return absl::UnavailableError("the coordinator was not heard");
    return source_->Await(step);
  }
  const Directive* TryAwait(int64_t step) override {
    return step >= step_ ? nullptr : source_->TryAwait(step);
  }
  absl::Status Report(const StepReport& report) override { return source_->Report(report); }

 private:
  DirectiveSource* source_;
  int64_t step_;
};

TEST(Orphans, SaveAndSayThatTheRunMayGoOnOnlyIfTheyDid) {
  for (const auto code : {absl::StatusCode::kOk, absl::StatusCode::kUnavailable,
                          absl::StatusCode::kResourceExhausted}) {
    SCOPED_TRACE(absl::StatusCodeToString(code));
    TemporaryFolder root;
    std::vector<std::unique_ptr<GoneFrom>> sources(2);
    const TrainerRun run = RunTrainer(
        SmallConfig(kTrain), root.path() + "/run", 2,
        [&](const FileOp& op) {
          const bool write = op.kind == FileOpKind::kWrite;
          return write ? absl::Status(code, "the disk") : absl::OkStatus();
        },
        "", nullptr,
        [&](int rank, TrainerOptions& options, ScriptedControl&) {
          sources[rank] = std::make_unique<GoneFrom>(options.source, 5);
          options.source = sources[rank].get();
        });
    for (const absl::Status& status : run.statuses) {
      if (code == absl::StatusCode::kOk) {
        EXPECT_TRUE(status.ok()) << status.ToString();
        continue;
      }
      EXPECT_FALSE(status.ok());
      EXPECT_NE(ExitCodeOf(status), kExitStopped) << status.ToString();
      EXPECT_THAT(std::string(status.message()), HasSubstr("step 5 was not saved"));
    }
    EXPECT_EQ(run.phases.size(), 5u);
  }
}

}  // namespace
}  // namespace blockstep::testing
