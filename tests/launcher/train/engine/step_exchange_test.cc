#include "launcher/train/engine/step_exchange.h"

#include <thread>

#include "core/base/status.h"
#include "dist/local/local_communicator.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace blockstep {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

Directive Learns(int tensor) {
  return {.from = 7, .through = 7, .sets = {{{{.tensor = tensor, .rows = {0, 64}}}}}};
}

// What each rank gets when it comes with what it holds.
std::vector<absl::Status> Agree(const std::vector<absl::StatusOr<Directive>>& held) {
  const auto groups = LocalGroup::Create(static_cast<int>(held.size()));
  std::vector<absl::Status> got(held.size());
  std::vector<std::thread> threads;
  for (size_t r = 0; r < held.size(); ++r) {
    threads.emplace_back([&, r] {
      bool undirected = false;
      got[r] = AgreeOnDirective(*groups[r], 7, held[r], &undirected);
      EXPECT_EQ(undirected, !got[r].ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  return got;
}

std::string Text(const absl::Status& status) { return std::string(Std(status.message())); }

// docs/collectives.md gives this count.
TEST(StepExchange, Sends72BytesAnd24PerEntryToEachOtherRank) {
  for (const int entries : {0, 1, 5}) {
    const auto ranks = LocalGroup::Create(3);
    std::vector<std::thread> threads;
    for (const auto& rank : ranks) {
      threads.emplace_back([&] {
        StepExchange exchange(*rank, {.step = 7},
                              std::vector<ExactSum>(static_cast<size_t>(entries)));
        EXPECT_TRUE(exchange.Finish().ok());
        EXPECT_EQ(rank->bytes_sent().total(), 2 * (72 + 24 * entries));
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
}

TEST(TokenCount, IsTheSumOverRanks) {
  const auto ranks = LocalGroup::Create(3);
  std::vector<std::thread> threads;
  for (const auto& rank : ranks) {
    threads.emplace_back([&] {
      TokenCount count(*rank, 10 + rank->rank(), 7);
      const absl::StatusOr<int64_t> total = count.Total();
      ASSERT_TRUE(total.ok());
      EXPECT_EQ(*total, 33);
      EXPECT_EQ(rank->bytes_sent().total(), 2 * 8);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(AgreeOnDirective, EqualOnesAreFineAndOthersAreNamed) {
  for (const absl::Status& status : Agree({Learns(1), Learns(1), Learns(1)})) {
    EXPECT_TRUE(status.ok()) << status.ToString();
  }
  for (const absl::Status& status : Agree({Learns(1), Learns(1), Learns(2)})) {
    EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
    EXPECT_THAT(Text(status), HasSubstr("different directives for step 7"));
    EXPECT_THAT(Text(status), HasSubstr("rank 2"));
  }
}

TEST(AgreeOnDirective, OneRankWithoutEndsTheStepForAllAlike) {
  const absl::Status gone = Unavailable("not heard for 1 s");
  const auto got = Agree({Learns(1), gone, Learns(1)});
  for (const absl::Status& status : got) {
    EXPECT_EQ(status.code(), StatusCode::kUnavailable);
    EXPECT_EQ(Text(status), "rank 1: not heard for 1 s");
  }
}

// A coordinator that is gone means save and leave; that must not hide a refusal.
TEST(AgreeOnDirective, AnotherErrorWinsOverAMissingCoordinator) {
  const auto got = Agree({Unavailable("gone"), Learns(1), FailedPrecondition("replaced")});
  for (const absl::Status& status : got) {
    EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
    EXPECT_EQ(Text(status), "rank 2: replaced");
  }
}

}  // namespace
}  // namespace blockstep
