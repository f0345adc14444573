#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <mutex>

#include "dist/null/null_communicator.h"
#include "tests/dist/communicator_suite.h"
#include "tests/dist/ranks.h"

namespace blockstep {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

class LocalSuite : public testing::TestWithParam<std::tuple<int, size_t>> {};

TEST_P(LocalSuite, HoldsForBothOfAPair) {
  const auto [ranks, which] = GetParam();
  const LocalOptions options{.timeout = 20s, .max_delay_us = 30};
  const auto& body = CommunicatorSuite()[which].body;
  RunPairs(ranks, options, [&](const RankGroup& group) { body(*group.control); });
  RunPairs(ranks, options, [&](const RankGroup& group) { body(*group.data); });
}
INSTANTIATE_TEST_SUITE_P(Local, LocalSuite,
                         testing::Combine(testing::Range(1, 6),
                                          testing::Range<size_t>(0, CommunicatorSuite().size())),
                         [](const auto& info) {
                           return CommunicatorSuite()[std::get<1>(info.param)].name + "On" +
                                  std::to_string(std::get<0>(info.param));
                         });

// Each waits for rank 1, which comes when the other has got on everywhere.
TEST(LocalPairs, NeitherWaitsForTheOther) {
  for (const auto& [late, other] : {std::pair(&RankGroup::data, &RankGroup::control),
                                    std::pair(&RankGroup::control, &RankGroup::data)}) {
    std::atomic<int> seen{0};
    RunPairs(3, {.timeout = 20s}, [&](const RankGroup& group) {
      Communicator &waits = *(group.*late), &moves = *(group.*other);
      if (group.rank() != 1) waits.Barrier("late");
      const Event waiting = waits.stream().Record();
      moves.Barrier("meanwhile");
      EXPECT_TRUE(moves.stream().Synchronize().ok()) << moves.stream().status();
      if (group.rank() != 1) {
        EXPECT_FALSE(waiting.done());
      }
      ++seen;
      while (group.rank() == 1 && seen < 3) std::this_thread::sleep_for(1ms);
      if (group.rank() == 1) waits.Barrier("late");
      EXPECT_TRUE(waits.stream().Synchronize().ok()) << waits.stream().status();
    });
  }
}

TEST(LocalPairs, AnAbandonedGroupFailsOnBoth) {
  std::vector<std::string> control(2), data(2);
  RunPairs(2, {.timeout = 60s}, [&](const RankGroup& group) {
    if (group.rank() == 1) return group.Abandon(absl::DataLossError("rank 1: got id 9"));
    group.control->Barrier("agree");
    group.data->Barrier("gather");
    control[0] = group.control->stream().Synchronize().ToString();
    data[0] = group.data->stream().Synchronize().ToString();
  });
  EXPECT_THAT(control[0], HasSubstr("rank 1: got id 9"));
  EXPECT_THAT(data[0], HasSubstr("rank 1: got id 9"));
}

// The status each rank ends with.
std::vector<std::string> Endings(int ranks, LocalOptions options,
                                 const std::function<void(Communicator&)>& body) {
  std::vector<std::string> endings(ranks);
  RunRanks(ranks, options, [&](Communicator& c) {
    body(c);
    endings[c.rank()] = c.stream().Synchronize().ToString();
  });
  return endings;
}

TEST(LocalErrors, MissingRankIsNamed) {
  std::atomic<int> waited{0};
  const std::vector<std::string> endings = Endings(3, {.timeout = 1s}, [&](Communicator& c) {
    c.Barrier("start");
    if (c.rank() == 2) {  // away until the others have given up
      while (waited < 2) std::this_thread::sleep_for(1ms);
    } else {
      c.Barrier("step 7");
      (void)c.stream().Synchronize();
      ++waited;
    }
  });
  for (int r : {0, 1}) {
    EXPECT_THAT(endings[r], AllOf(HasSubstr("DEADLINE_EXCEEDED"), HasSubstr("step 7"),
                                  HasSubstr("call 2"), HasSubstr("rank 2"), HasSubstr("start")));
  }
}

TEST(LocalErrors, AnAbandonedCallFailsAtOnceAndThoseBeforeItDoNot) {
  const std::vector<std::string> endings = Endings(3, {.timeout = 60s}, [](Communicator& c) {
    c.Barrier("start");
    EXPECT_TRUE(c.stream().Synchronize().ok()) << c.rank();
    if (c.rank() == 1) {
      c.Abandon(absl::DataLossError("rank 1: token file x: got id 9"));
    } else {
      c.Barrier("step 7");  // a minute, if nobody said that rank 1 is gone
    }
  });
  for (int r : {0, 2}) EXPECT_THAT(endings[r], HasSubstr("rank 1: token file x: got id 9"));
}

TEST(LocalErrors, DifferentCallsNameBoth) {
  std::vector<float> data(12);
  const std::vector<std::string> kinds = Endings(2, {}, [&](Communicator& c) {
    if (c.rank() == 0) {
      c.Barrier("here");
    } else {
      c.Broadcast(data.data(), 4, 0, "there");
    }
  });
  EXPECT_THAT(kinds, Each(AllOf(HasSubstr("FAILED_PRECONDITION"), HasSubstr("barrier \"here\""),
                                HasSubstr("broadcast \"there\""))));
  const std::vector<std::string> names =
      Endings(2, {}, [](Communicator& c) { c.Barrier(c.rank() == 0 ? "a" : "b"); });
  EXPECT_THAT(names, Each(AllOf(HasSubstr("\"a\""), HasSubstr("\"b\""))));
  const std::vector<std::string> sizes = Endings(2, {}, [&](Communicator& c) {
    c.AllGather({{data.data(), {0, 4, 8 + 4 * c.rank()}}}, "sizes");
  });
  EXPECT_THAT(sizes, Each(AllOf(HasSubstr("0 4 8"), HasSubstr("0 4 12"))));
  const std::vector<std::string> pairs = Endings(2, {}, [&](Communicator& c) {
    const int other = 1 - c.rank();
    c.Exchange({{other, data.data(), 4}}, {{other, data.data() + 2 * c.rank(), 4 + 4 * c.rank()}},
               "pairs");
  });
  EXPECT_THAT(pairs, Each(AllOf(HasSubstr("rank 0 sends to rank 1"), HasSubstr("sizes 8"))));
}

TEST(LocalErrors, NothingRunsAfterAFailureAndNobodyHangs) {
  std::vector<std::vector<float>> data(2, std::vector<float>(2, -1.0f));
  const std::vector<std::string> endings = Endings(2, {}, [&](Communicator& c) {
    c.Barrier(c.rank() == 0 ? "a" : "b");
    c.AllGather({{data[c.rank()].data(), {0, 4, 8}}}, "after");
    c.stream().Record().Block();
  });
  EXPECT_THAT(endings, Each(HasSubstr("\"a\"")));
  EXPECT_EQ(data[0][1], -1.0f);
}

TEST(Null, CountsAndRepeatsThisRank) {
  NullCommunicator c(4, 1);
  c.AllGather({{nullptr, {0, 10, 30, 30, 31}}}, "gather");
  c.ReduceScatter({{nullptr, nullptr, {0, 10, 30, 30, 31}}}, "reduce");
  EXPECT_EQ(c.bytes_sent().all_gather, 60);
  EXPECT_EQ(c.bytes_sent().reduce_scatter, 44);
  EXPECT_EQ(c.bytes_sent().calls, 2);
  const int mine = 5;
  std::vector<int> all(4);
  NullCommunicator control(4, 1, NullCommunicator::Peers::kLikeThisOne);
  ASSERT_TRUE(control.HostAllGather(&mine, sizeof mine, all.data(), "word").ok());
  EXPECT_THAT(all, Each(5));
}

}  // namespace
}  // namespace blockstep
