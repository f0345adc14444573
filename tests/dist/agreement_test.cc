// Agreements carry an error's facts as numbers: no rank reads another's prose.
#include "dist/agreement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "core/base/status.h"
#include "tests/dist/ranks.h"

namespace blockstep {
namespace {

std::string Text(const absl::Status& status) { return std::string(Std(status.message())); }

TEST(ErrorFacts, WhoeverWasNearestToTheErrorKnowsBest) {
  const absl::Status plain = DataLoss("the file");
  EXPECT_EQ(FactsOf(plain).rank, -1);
  EXPECT_EQ(FactsOf(plain).exit_code, -1);
  const absl::Status once = OnRank(WithFacts(plain, {.exit_code = 75}), {.rank = 2});
  EXPECT_EQ(Text(once), "rank 2: the file");
  const absl::Status twice =
      WithFacts(OnRank(Annotate(once, "step 5"), {.rank = 0}), {.exit_code = 4});
  EXPECT_EQ(Text(twice), "step 5: rank 2: the file");
  EXPECT_EQ(twice.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(FactsOf(twice).rank, 2);
  EXPECT_EQ(FactsOf(twice).exit_code, 75);
  EXPECT_TRUE(OnRank(absl::OkStatus(), {.rank = 1}).ok());
  EXPECT_TRUE(WithFacts(absl::OkStatus(), {.rank = 1}).ok());
}

TEST(ErrorFacts, TheOnlyRankIsNotNamed) {
  const absl::Status status = OnRank(DataLoss("the file"), {.rank = 0, .ranks = 1});
  EXPECT_EQ(Text(status), "the file");
  EXPECT_EQ(FactsOf(status).rank, 0);
  EXPECT_EQ(Text(OnRank(DataLoss("the file"), {.rank = 0, .ranks = 2})), "rank 0: the file");
}

// A text that begins like ours is no fact.
TEST(ErrorFacts, ProseIsNotRead) {
  const absl::Status status = OnRank(NotFound("rank 7: says a file of that name"), {.rank = 1});
  EXPECT_EQ(FactsOf(status).rank, 1);
  EXPECT_EQ(Text(status), "rank 1: rank 7: says a file of that name");
}

TEST(Agreement, IsTheLowestFailingRanksErrorWithItsFacts) {
  std::vector<absl::Status> agreed(3);
  RunRanks(3, {}, [&](Communicator& c) {
    absl::Status mine;
    if (c.rank() == 1) mine = WithFacts(Unavailable("nobody answers"), {.exit_code = 75});
    if (c.rank() == 2) mine = WithFacts(Internal("later"), {.exit_code = 1});
    agreed[c.rank()] = AgreeOnStatus(&c, mine, "test");
  });
  for (const absl::Status& status : agreed) {
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(Text(status), "rank 1: nobody answers");
    EXPECT_EQ(FactsOf(status).rank, 1);
    EXPECT_EQ(FactsOf(status).exit_code, 75);
  }
}

// An error that is some rank's already stays its, whoever brings it to the next agreement.
TEST(Agreement, KeepsTheRankOfAnErrorThatWasAgreedOnBefore) {
  std::vector<absl::Status> agreed(3);
  RunRanks(3, {}, [&](Communicator& c) {
    const absl::Status mine = c.rank() == 2 ? DataLoss("slice 4") : absl::OkStatus();
    const absl::Status first = AgreeOnStatus(&c, mine, "first");
    agreed[c.rank()] = AgreeOnStatus(&c, first, "second");
  });
  for (const absl::Status& status : agreed) {
    EXPECT_EQ(Text(status), "rank 2: slice 4");
    EXPECT_EQ(FactsOf(status).rank, 2);
    EXPECT_EQ(FactsOf(status).exit_code, -1);
  }
}

TEST(Agreement, OfOneRankNamesNone) {
  RunRanks(1, {}, [&](Communicator& c) {
    EXPECT_EQ(Text(AgreeOnStatus(&c, DataLoss("slice 4"), "test")), "slice 4");
  });
}

TEST(Agreement, TruncatesLongTextsOnTheOtherRanksOnly) {
  const std::string text(5000, 'x');
  std::vector<absl::Status> agreed(2);
  RunRanks(2, {}, [&](Communicator& c) {
    agreed[c.rank()] = AgreeOnStatus(&c, c.rank() == 1 ? Internal(text) : absl::OkStatus(), "test");
  });
  EXPECT_EQ(Text(agreed[1]), "rank 1: " + text);
  const std::string cut = Text(agreed[0]);
  EXPECT_GT(cut.size(), 900u);
  EXPECT_EQ(cut, ("rank 1: " + text).substr(0, cut.size()));
  EXPECT_EQ(FactsOf(agreed[0]).rank, 1);
}

}  // namespace
}  // namespace blockstep
