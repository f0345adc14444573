// Which cases `blockstep verify` runs.
#include "launcher/commands/verify/cases.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>

#include "launcher/commands/verify/child_process.h"

namespace blockstep::testing {
namespace {

TEST(Cases, TheWholeMatrix) {
  const std::vector<VerifyCase> all = AllCases({});
  EXPECT_EQ(all.size(), 3u * 4 * 2 * 2 * 2);
  EXPECT_EQ(std::set<VerifyCase>(all.begin(), all.end()).size(), all.size());
}

TEST(Cases, PairwiseMeetsEveryPair) {
  const VerifyAxes axes;
  const std::vector<VerifyCase> chosen = PairwiseCases(axes);
  EXPECT_EQ(chosen.size(), 12u);  // ranks x policies need that many
  const std::string VerifyCase::*const fields[] = {&VerifyCase::policy, &VerifyCase::ranks,
                                                   &VerifyCase::placement, &VerifyCase::coordinator,
                                                   &VerifyCase::transport};
  const auto pairs = [&](const std::vector<VerifyCase>& cases) {
    std::set<std::string> seen;
    for (const VerifyCase& c : cases) {
      for (const auto a : fields) {
        for (const auto b : fields) seen.insert(c.*a + "/" + c.*b);
      }
    }
    return seen;
  };
  EXPECT_EQ(pairs(chosen), pairs(AllCases(axes)));
}

TEST(Cases, APolicyHasSomethingToCompareWith) {
  VerifyAxes axes;
  axes.transports = {"local"}, axes.coordinators = {"embedded"}, axes.placements = {"sharded"};
  axes.ranks = {"1", "2"};
  EXPECT_EQ(PairwiseCases(axes).size(), 6u);
}

TEST(Cases, WrongNamesAreToldWithTheNearest) {
  VerifyAxes axes;
  axes.placements = {"shardde"};
  EXPECT_EQ(Validate(axes).message(),
            "--placements: found 'shardde', wanted one of sharded, pinned, budget; did you "
            "mean sharded?");
  axes = {};
  axes.ranks = {"2", "0"};
  EXPECT_EQ(Validate(axes).message(), "--ranks: found '0', wanted a number above 0");
}

TEST(Cases, ABudgetIsAPlacementThatOneAsksFor) {
  VerifyAxes axes;
  EXPECT_EQ(std::count(axes.placements.begin(), axes.placements.end(), "budget"), 0);
  axes.placements = {"sharded", "budget"};
  EXPECT_TRUE(Validate(axes).ok());
}

TEST(ChildProcess, CodesSignalsAndLimits) {
  const std::string log = ::testing::TempDir() + "/child.log";
  const auto run = [&](const std::string& script, double limit) {
    auto child = ChildProcess::Start({"sh", "-c", script}, log);
    EXPECT_TRUE(child.ok());
    return child->Wait(limit);
  };
  EXPECT_EQ(*run("exit 7", 60), 7);
  EXPECT_EQ(*run("kill -9 $$", 60), 137);
  EXPECT_TRUE(absl::IsDeadlineExceeded(run("sleep 600", 0.1).status()));
  EXPECT_TRUE(absl::IsNotFound(ChildProcess::Start({"no-such-program"}, log).status()));
}

}  // namespace
}  // namespace blockstep::testing
