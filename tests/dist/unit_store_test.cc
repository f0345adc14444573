// UnitStore over ranks as threads: a pass like a model's, every weight compared on the compute
// stream, with random delays on all streams and released buffers poisoned, so that a missing wait
// shows.
#include "dist/unit_store.h"

#include <gtest/gtest.h>

#include "dist/null/null_communicator.h"
#include "tests/dist/store_rank.h"

namespace blockstep {
namespace {

class Weights : public testing::TestWithParam<std::tuple<int, Pins, Tie>> {};

TEST_P(Weights, AreRightUnderDelays) {
  const auto [ranks, pins, tie] = GetParam();
  const TensorTable table = TinyTable(tie);
  const Backend backend = PlainDelayed();
  for (const int delay : {0, 400}) {  // compute is the slow one, then comm
    RunPairs(ranks, {.max_delay_us = delay, .delay_seed = 1000}, [&, pins = pins](auto& group) {
      Rank rank(table, pins, backend, group);
      rank.Load();
      for (int step = 0; step < 3; ++step) {
        rank.Pass(step == 1 ? Rows::kFetched : Rows::kSkipped);
        rank.Update();
      }
      rank.Pass(Rows::kSkipped);
      rank.Finish();
    });
  }
}
INSTANTIATE_TEST_SUITE_P(UnitStore, Weights,
                         testing::Combine(testing::Values(1, 2, 3, 4),
                                          testing::Values(Pins::kNone, Pins::kAll, Pins::kSome),
                                          testing::Values(Tie::kNo, Tie::kYes)));

// --- bytes, by formulas of their own ---

int64_t OwnBytes(const TensorInfo& t, int ranks, int rank, Range rows) {
  // Quanta of 256 elements of whole rows, dealt in equal counts; the last ranks may get none.
  int64_t quantum = 1;
  while (quantum * t.cols % 256 != 0) ++quantum;
  const int64_t quanta = (t.rows + quantum - 1) / quantum;
  const int64_t each = (quanta + ranks - 1) / ranks * quantum;
  const int64_t begin = std::max(rows.begin, std::min(rank * each, t.rows));
  const int64_t end = std::min(rows.end, std::min((rank + 1) * each, t.rows));
  return std::max<int64_t>(0, end - begin) * t.cols * 4;
}
int64_t OwnBytes(const TensorTable& table, int tensor, int ranks, int rank) {
  const TensorInfo& t = table.tensors[tensor];
  return OwnBytes(t, ranks, rank, {0, t.rows});
}

// Bytes all-gathered by one Pass of Rank, which passes every unit but the embedding twice.
int64_t PassGathers(const TensorTable& table, const std::vector<char>& pinned, int ranks,
                    int rank) {
  int64_t own = 0;
  for (size_t u = 1; u < table.units.size(); ++u) {
    if (pinned[u]) continue;
    for (const int t : table.units[u].tensors) own += 2 * OwnBytes(table, t, ranks, rank);
  }
  if (table.tied && !pinned[0]) own += 2 * OwnBytes(table, 0, ranks, rank);
  if (!pinned[0]) own += (ranks + 1) * 4;  // how many rows of whom, of one micro-step
  return own * (ranks - 1);
}

int64_t PassRows(const TensorTable& table, int ranks, int rank) {
  int64_t rows = 0;
  for (int peer = 0; peer < ranks; ++peer) {
    if (peer == rank) continue;
    std::set<int64_t> wanted;
    const int64_t n = peer == 2 ? 0 : kMaxTokens - 7 * peer;
    for (int64_t i = 0; i < n; ++i) wanted.insert(Rank::TokenAt(peer, i));
    for (const int64_t id : wanted) {
      rows += OwnBytes(table.tensors[0], ranks, rank, {id, id + 1}) > 0;
    }
  }
  return rows * 32 * 4;
}

// Ids of rows that this rank asks others for.
int64_t PassLists(const TensorTable& table, int ranks, int rank) {
  std::set<int64_t> wanted;
  const int64_t n = rank == 2 ? 0 : kMaxTokens - 7 * rank;
  for (int64_t i = 0; i < n; ++i) wanted.insert(Rank::TokenAt(rank, i));
  int64_t ids = 0;
  for (const int64_t id : wanted) {
    ids += OwnBytes(table.tensors[0], ranks, rank, {id, id + 1}) == 0;
  }
  return ids * 4;
}

TEST_P(Weights, BytesOnTheWireAreTheFormulas) {
  const auto [ranks, pins, tie] = GetParam();
  const TensorTable table = TinyTable(tie);
  const Backend backend = PlainCpu();
  const std::vector<char> pinned = MakePins(table, pins);
  RunPairs(ranks, {}, [&, ranks = ranks, pins = pins](const RankGroup& group) {
    const int me = group.rank();
    Rank rank(table, pins, backend, group);
    rank.Load();
    CommBytes before = group.bytes_sent();
    int64_t all = 0;
    for (size_t t = 0; t < table.tensors.size(); ++t) {
      if (pinned[table.tensors[t].unit]) all += OwnBytes(table, static_cast<int>(t), ranks, me);
    }
    EXPECT_EQ(before.all_gather, all * (ranks - 1));
    rank.Pass();
    rank.Finish();
    CommBytes after = group.bytes_sent();
    EXPECT_EQ(after.all_gather - before.all_gather, PassGathers(table, pinned, ranks, me));
    EXPECT_EQ(after.exchange - before.exchange,
              pinned[0] ? 0 : PassRows(table, ranks, me) + PassLists(table, ranks, me));
    EXPECT_EQ(after.reduce_scatter + after.broadcast, 0);
    before = after;
    rank.Update();
    rank.Finish();
    int64_t active = 0;
    for (const ActiveEntry& e : SomeActive(table).entries) {
      const TensorInfo& t = table.tensors[e.tensor];
      if (e.role == Role::kTrain && pinned[t.unit]) active += OwnBytes(t, ranks, me, e.rows);
    }
    EXPECT_EQ(group.bytes_sent().total() - before.total(), active * (ranks - 1));
  });
}

TEST_P(Weights, MemoryIsTheFormulas) {
  const auto [ranks, pins, tie] = GetParam();
  const TensorTable table = TinyTable(tie);
  const std::vector<char> pinned = MakePins(table, pins);
  const auto padded = [](int64_t bytes) { return (bytes + 255) / 256 * 256; };
  int64_t weights = 0, whole = 0, layer = 0, head = 0, communication = 0;
  for (size_t u = 0; u < table.units.size(); ++u) {
    int64_t gather = 0;
    for (const int i : table.units[u].tensors) {
      const TensorInfo& t = table.tensors[i];
      int64_t shard = 0;  // of rank 0, which has no cut tail where there are enough quanta
      int64_t quantum = 1;
      while (quantum * t.cols % 256 != 0) ++quantum;
      shard = ((t.rows + quantum - 1) / quantum + ranks - 1) / ranks * quantum * t.cols * 4;
      (pinned[u] ? whole : weights) += padded(shard * (pinned[u] ? ranks : 1));
      gather += padded(t.rows * t.cols * 4);
    }
    if (pinned[u] || ranks == 1) gather = 0;
    if (table.units[u].kind == UnitKind::kLayer) layer = std::max(layer, gather);
    if (table.units[u].kind == UnitKind::kHead) head += gather;
    if (u == 0 && gather > 0) {
      communication = padded(4 * kMaxTokens) + 2 * padded(kMaxTokens * 32 * 4);
      if (table.tied) head += gather;
    }
  }
  for (const bool real : {true, false}) {
    const Backend backend = real ? PlainCpu() : PlainNull();
    for (int r = 0; r < ranks; ++r) {
      const NullGroup null(ranks, r);
      const Rank rank(table, pins, backend, null.group());
      const auto of = [&](MemoryClass c) {
        return rank.arena().use().current[static_cast<size_t>(c)];
      };
      EXPECT_EQ(of(MemoryClass::kWeights), weights);
      EXPECT_EQ(of(MemoryClass::kPinned), whole);
      EXPECT_EQ(of(MemoryClass::kGather), 2 * layer + head);
      EXPECT_EQ(of(MemoryClass::kCommunication), communication);
    }
  }
}

TEST(UnitStoreNull, CountsGathersWithoutMemory) {
  const TensorTable table = TinyTable(Tie::kNo);
  const Backend backend = PlainNull();
  const NullGroup null(4, 1);
  const RankGroup group = null.group();
  Rank rank(table, Pins::kNone, backend, group);
  for (size_t u = 1; u < table.units.size(); ++u) {
    for (int pass = 0; pass < 2; ++pass) {
      ASSERT_TRUE(rank.store().Acquire(static_cast<int>(u), rank.compute()).ok());
      ASSERT_TRUE(rank.store().Release(static_cast<int>(u), rank.compute()).ok());
    }
  }
  const TensorView out = TensorView::Of(nullptr, DType::kF32, 40, 32);
  const RowIds micro_step{.n = 40};
  ASSERT_TRUE(rank.store().PlanRows({&micro_step, 1}).ok());
  ASSERT_TRUE(rank.store().GatherRows(0, nullptr, 40, out, rank.compute()).ok());
  EXPECT_EQ(group.bytes_sent().all_gather, PassGathers(table, MakePins(table, Pins::kNone), 4, 1));
  // Of 40 evenly spread ids this rank owns 11, and each other rank is taken to ask for as many.
  EXPECT_EQ(group.bytes_sent().exchange, 3 * 11 * 32 * 4 + (40 - 11) * 4);
}

TEST(UnitStoreMisuse, IsFatal) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TensorTable table = TinyTable(Tie::kNo);
  const Backend backend = PlainNull();
  const NullGroup null(2, 0);
  Rank rank(table, Pins::kNone, backend, null.group());
  UnitStore& store = rank.store();
  EXPECT_DEATH(store.Weight(1), "defined");
  EXPECT_DEATH((void)store.Release(1, rank.compute()), "acquired");
  EXPECT_DEATH((void)store.Acquire(0, rank.compute()), "kEmbedding");
  ASSERT_TRUE(store.Acquire(1, rank.compute()).ok());
  EXPECT_DEATH((void)store.Acquire(1, rank.compute()), "acquired");
  ASSERT_TRUE(store.Prefetch(2).ok());
  EXPECT_DEATH((void)store.Prefetch(3), "buffer");
  // Gathered before an update that was published since.
  const ActiveSet updated{{WholeTensor(table, table.units[2].tensors[0])}};
  ASSERT_TRUE(store.Publish(updated, rank.compute()).ok());
  EXPECT_DEATH((void)store.Acquire(2, rank.compute()), "version");
}

TEST(UnitStoreErrors, AnIdOutsideTheTableIsEveryRanksError) {
  const TensorTable table = TinyTable(Tie::kNo);
  const Backend backend = PlainCpu();
  std::vector<std::string> endings(2);
  RunPairs(2, {}, [&](const RankGroup& group) {
    Rank rank(table, Pins::kNone, backend, group);
    const int32_t id = group.rank() == 1 ? 200 : 3;
    const RowIds micro_step{.ids = &id, .n = 1};
    endings[group.rank()] = rank.store().PlanRows({&micro_step, 1}).ToString();
  });
  for (const std::string& ending : endings) {
    EXPECT_NE(ending.find("rank 1: embed: expected ids in [0, 200), got 200"), std::string::npos)
        << ending;
  }
}

}  // namespace
}  // namespace blockstep
