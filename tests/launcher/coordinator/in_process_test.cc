#include <thread>

#include "gtest/gtest.h"
#include "tests/launcher/coordinator/in_process_source.h"
#include "tests/launcher/coordinator/small_policy.h"

namespace blockstep {
namespace {

std::unique_ptr<InProcessCoordinator> Make(InProcessOptions options = {}) {
  auto made = InProcessCoordinator::Create(std::make_unique<RisingLossPolicy>(1), options);
  EXPECT_TRUE(made.ok());
  return std::move(*made);
}

TEST(InProcess, EveryRankSeesThePolicysPhases) {
  const auto coordinator = Make();
  std::vector<std::vector<int64_t>> seen(4);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 4; ++rank) {
    threads.emplace_back([&, rank] {
      const auto source = coordinator->Source(rank);
      for (int64_t step = 0; step < 200; ++step) {
        const auto directive = source->Await(step);
        ASSERT_TRUE(directive.ok());
        ASSERT_NE(source->TryAwait(step), nullptr);
        EXPECT_EQ(source->TryAwait(step)->phase, directive->phase);
        seen[rank].push_back(directive->phase);
        EXPECT_TRUE(source->Report(ReportOf(step)).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& phases : seen) EXPECT_EQ(phases, ExpectedPhases(200));
}

TEST(InProcess, GraceGapsAndRepeats) {
  const auto coordinator = Make({.grace = std::chrono::milliseconds(20)});
  const auto source = coordinator->Source(0);
  EXPECT_EQ(source->Await(2).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(source->TryAwait(2), nullptr);
  EXPECT_EQ(source->Report(ReportOf(1)).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(source->Report(ReportOf(0)).ok());
  EXPECT_TRUE(source->Report(ReportOf(0)).ok());
  EXPECT_EQ(coordinator->Issued().size(), 3u);
}

TEST(InProcess, ContinuesFromASnapshot) {
  const auto first = Make();
  const auto source = first->Source(0);
  for (int64_t step = 0; step < 10; ++step) EXPECT_TRUE(source->Report(ReportOf(step)).ok());
  EXPECT_FALSE(first->Snapshot(9).ok());
  const auto snapshot = first->Snapshot(10);
  ASSERT_TRUE(snapshot.ok());
  const auto second = Make({.resume = &*snapshot, .resume_step = 10});
  const auto again = second->Source(0);
  std::vector<int64_t> phases;
  for (int64_t step = 10; step < 30; ++step) {
    phases.push_back(again->Await(step)->phase);
    EXPECT_TRUE(again->Report(ReportOf(step)).ok());
  }
  const std::vector<int64_t> all = ExpectedPhases(30);
  EXPECT_EQ(phases, std::vector<int64_t>(all.begin() + 10, all.end()));
}

}  // namespace
}  // namespace blockstep
