// Which cases `blockstep verify` runs.
#include "launcher/commands/verify/cases.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <set>

#include "core/base/str.h"
#include "launcher/commands/verify/bisect.h"
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
  EXPECT_EQ(
      Validate(axes).message(),
      "--placements: unknown value 'shardde'; expected one of sharded, pinned, budget, node; did "
      "you mean "
      "sharded?");
  axes = {};
  axes.ranks = {"2", "0"};
  EXPECT_EQ(Validate(axes).message(), "--ranks: expected a number > 0, got '0'");
}

TEST(ReadResult, HashesAndWhetherThePolicySwitched) {
  const std::string log = ::testing::TempDir() + "/run.log";
  const auto read = [&](const std::string& sets) {
    std::ofstream(log) << Cat("step 3\nblocks sha256 ", std::string(64, 'b'), sets,
                              "\nstate sha256 ", std::string(64, 'c'), "\nweights sha256 ",
                              std::string(64, 'a'), "\n");
    return ReadResult(log);
  };
  const absl::StatusOr<CaseResult> result = read(", 11 active sets");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->weights, std::string(64, 'a'));
  EXPECT_EQ(result->blocks, std::string(64, 'b'));
  EXPECT_EQ(result->state, std::string(64, 'c'));
  CaseResult other = *result;
  EXPECT_TRUE(other.SameAs(*result));
  other.state[0] = 'd';
  EXPECT_FALSE(other.SameAs(*result));
  EXPECT_TRUE(CheckSwitched({.policy = "badam"}, *result).ok());
  EXPECT_EQ(CheckSwitched({.policy = "blockllm"}, *read(", 1 active set")).message(),
            "policy blockllm never switched: expected at least 2 active sets, got 1; raise --steps "
            "or let the configuration switch sooner");
  EXPECT_TRUE(CheckSwitched({.policy = "full"}, *read(", 1 active set")).ok());
  EXPECT_TRUE(absl::IsDataLoss(read("").status()));
  std::ofstream(log) << "died\n";
  EXPECT_TRUE(absl::IsNotFound(ReadResult(log).status()));
}

TEST(ReadResult, CasesByName) {
  const VerifyCase c{"blockllm", "4", "sharded", "embedded", "mpi"};
  EXPECT_EQ(*CaseNamed(NameOf(c)), c);
  for (const char* name : {"blockllm-4-sharded-embedded", "blockllm-4-sharded-embedded-mpi-",
                           "blockllm-4-shared-embedded-mpi", ""}) {
    EXPECT_EQ(CaseNamed(name).status().message(),
              Cat("--bisect: expected a case as full-2-sharded-embedded-mpi, got '", name, "'"));
  }
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
