// UnitStore over ranks as threads: a pass like a model's, every weight compared on the compute
// stream, with random delays on all streams and released buffers poisoned, so that a missing wait
// shows.
#include "dist/unit_store.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <map>
#include <set>

#include "dist/null/null_communicator.h"
#include "tests/dist/plain_backend.h"
#include "tests/dist/ranks.h"
#include "tests/dist/tiny_table.h"

namespace blockstep {
namespace {

constexpr int64_t kMaxTokens = 64;
constexpr int64_t kArenaBytes = 8 << 20;

// The weights after `version` updates of the active rows.
float Expected(int tensor, int64_t row, int64_t cols, int64_t col, int version) {
  return Noise(static_cast<uint64_t>(tensor), row * cols + col) + static_cast<float>(version);
}

enum class Pins { kNone, kAll, kSome };

std::vector<char> MakePins(const TensorTable& table, Pins pins) {
  std::vector<char> pinned(table.units.size(), pins == Pins::kAll);
  if (pins == Pins::kSome) pinned[1] = pinned.back() = 1;
  return pinned;
}

// One layer, part of the embedding, and the final norm.
ActiveSet SomeActive(const TensorTable& table) {
  ActiveSet set;
  set.entries.push_back({.tensor = 0, .rows = {64, 200}});
  for (const int t : table.units[1].tensors) set.entries.push_back(WholeTensor(table, t));
  set.entries.push_back({.tensor = table.units[3].tensors[2], .rows = {0, 64}});
  set.entries.push_back(WholeTensor(table, table.units[4].tensors[1], Role::kProbe));
  set.entries.push_back(WholeTensor(table, table.units.back().tensors[0]));
  return set;
}

int VersionOf(const ActiveSet& set, int tensor, int64_t row, int updates) {
  for (const ActiveEntry& e : set.entries) {
    const bool inside = row >= e.rows.begin && row < e.rows.end;
    if (e.tensor == tensor && inside && e.role == Role::kTrain) return updates;
  }
  return 0;
}

enum class Rows { kFetched, kSkipped };

// One rank: its store, its streams and the checks.
class Rank {
 public:
  Rank(const TensorTable& table, Pins pins, const Backend& backend, Communicator& group)
      : table_(table),
        set_(SomeActive(table)),
        backend_(backend),
        group_(group),
        pool_(1),
        compute_(backend.device.new_compute_stream("compute", &pool_, 100 + group.rank())),
        arena_(Arena::Reserve(backend, kArenaBytes).value()) {
    ids_ = static_cast<int32_t*>(Carve(kMaxTokens * 4));
    rows_ = TensorView::Of(Carve(kMaxTokens * 32 * 4), DType::kF32, kMaxTokens, 32);
    store_ = UnitStore::Create({.table = &table,
                                .backend = &backend,
                                .group = &group,
                                .pinned = MakePins(table, pins),
                                .max_tokens = kMaxTokens},
                               arena_)
                 .value();
  }

  void Load() {
    for (int t = 0; t < static_cast<int>(table_.tensors.size()); ++t) {
      const TensorView owned = store_->Owned(t);
      const Range rows = store_->OwnedRange(t);
      ASSERT_EQ(owned.rows, rows.size());
      for (int64_t r = 0; r < owned.rows; ++r) {
        for (int64_t c = 0; c < owned.cols; ++c) {
          owned.f32(r)[c] = Expected(t, rows.begin + r, owned.cols, c, 0);
        }
      }
    }
    Ok(store_->PublishAll(*compute_));
  }

  // Forward up and backward down, as a model does. Fetching rows joins all streams, so a pass
  // without it is what shows a missing wait between an update and the first unit.
  void Pass(Rows rows = Rows::kFetched) {
    if (rows == Rows::kFetched) EmbeddingRows();
    const int last = static_cast<int>(table_.units.size()) - 1;
    for (int u = 1; u <= last; ++u) {
      Ok(store_->Acquire(u, *compute_));
      if (u < last) Ok(store_->Prefetch(u + 1));
      CheckUnit(u);
      Ok(store_->Release(u, *compute_));
    }
    for (int u = last; u >= 1; --u) {
      Ok(store_->Acquire(u, *compute_));
      if (u > 1) Ok(store_->Prefetch(u - 1));
      CheckUnit(u);
      Ok(store_->Release(u, *compute_));
    }
  }

  // Adds 1 to this rank's rows of train entries, on compute, and publishes them.
  void Update() {
    for (const ActiveEntry& e : set_.entries) {
      if (e.role != Role::kTrain) continue;
      const Range own = store_->OwnedRange(e.tensor);
      const Range rows = Intersect(e.rows, own);
      if (rows.empty()) continue;
      const TensorView view =
          store_->Owned(e.tensor).Rows(rows.begin - own.begin, rows.end - own.begin);
      const TensorTable* table = &table_;
      compute_->Run([view, rows, e, table, updates = updates_ + 1] {
        for (int64_t r = 0; r < view.rows; ++r) {
          for (int64_t c = 0; c < view.cols; ++c) {
            view.f32(r)[c] =
                Expected(e.tensor, rows.begin + r, table->tensors[e.tensor].cols, c, updates);
          }
        }
      });
    }
    ++updates_;
    Ok(store_->Publish(set_, *compute_));
  }

  void Finish() {
    Ok(compute_->Synchronize());
    Ok(group_.stream().Synchronize());
    EXPECT_EQ(wrong_.load(), 0) << "rank " << group_.rank() << " of " << group_.size();
    EXPECT_GT(compared_.load(), 0);
  }

  const Arena& arena() const { return arena_; }
  UnitStore& store() { return *store_; }
  Stream& compute() { return *compute_; }

 private:
  void Ok(const absl::Status& s) { ASSERT_TRUE(s.ok()) << s; }
  void* Carve(int64_t bytes) { return arena_.Allocate(MemoryClass::kData, "test", bytes).value(); }

  void Compare(TensorView view, int tensor, std::vector<int64_t> rows) {
    compute_->Run([this, view, tensor, rows = std::move(rows), updates = updates_] {
      for (int64_t i = 0; i < view.rows; ++i) {
        const int version = VersionOf(set_, tensor, rows[i], updates);
        for (int64_t c = 0; c < view.cols; ++c) {
          compared_ += 1;
          wrong_ += !(view.f32(i)[c] == Expected(tensor, rows[i], view.cols, c, version));
        }
      }
    });
  }

  void CheckUnit(int unit) {
    std::vector<int> tensors = table_.units[unit].tensors;
    if (table_.tied && table_.units[unit].kind == UnitKind::kHead) tensors.push_back(0);
    for (const int t : tensors) {
      const TensorView view = store_->Weight(t);
      ASSERT_EQ(view.rows, table_.tensors[t].rows);
      std::vector<int64_t> rows(view.rows);
      for (int64_t r = 0; r < view.rows; ++r) rows[r] = r;
      Compare(view, t, std::move(rows));
    }
  }

  // A ragged number of ids with repeats; rank 2 has none.
  void EmbeddingRows() {
    const int64_t n = group_.rank() == 2 ? 0 : kMaxTokens - 7 * group_.rank();
    std::vector<int64_t> rows;
    for (int64_t i = 0; i < n; ++i) rows.push_back(TokenAt(group_.rank(), i));
    compute_->Run([ids = ids_, rows] {
      for (size_t i = 0; i < rows.size(); ++i) ids[i] = static_cast<int32_t>(rows[i]);
    });
    const TensorView out = rows_.Rows(0, n);
    Ok(store_->GatherRows(0, ids_, n, out, *compute_));
    Compare(out, 0, rows);
  }

 public:
  static int64_t TokenAt(int rank, int64_t i) { return (rank * 37 + i * i * 3) % 200; }

 private:
  const TensorTable& table_;
  const ActiveSet set_;
  const Backend& backend_;
  Communicator& group_;
  ThreadPool pool_;
  std::atomic<int64_t> wrong_{0}, compared_{0};
  int updates_ = 0;
  std::unique_ptr<Stream> compute_;
  Arena arena_;
  int32_t* ids_ = nullptr;
  TensorView rows_;
  std::unique_ptr<UnitStore> store_;
};

class Weights : public testing::TestWithParam<std::tuple<int, Pins, Tie>> {};

TEST_P(Weights, AreRightUnderDelays) {
  const auto [ranks, pins, tie] = GetParam();
  const TensorTable table = TinyTable(tie);
  const Backend backend = PlainAsync();
  for (const int delay : {0, 400}) {  // compute is the slow one, then comm
    RunRanks(ranks, {.max_delay_us = delay, .delay_seed = 1000}, [&, pins = pins](auto& group) {
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
  if (!pinned[0]) own += (std::min<int64_t>(kMaxTokens, 200) + 1) * 4;
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

TEST_P(Weights, BytesOnTheWireAreTheFormulas) {
  const auto [ranks, pins, tie] = GetParam();
  const TensorTable table = TinyTable(tie);
  const Backend backend = PlainCpu();
  const std::vector<char> pinned = MakePins(table, pins);
  RunRanks(ranks, {}, [&, ranks = ranks, pins = pins](Communicator& group) {
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
    EXPECT_EQ(after.exchange - before.exchange, pinned[0] ? 0 : PassRows(table, ranks, me));
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
  int64_t weights = 0, whole = 0, layer = 0, head = 0, transport = 0;
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
      transport = padded(ranks * 4 * (kMaxTokens + 1)) + 2 * padded(kMaxTokens * 32 * 4);
      if (table.tied) head += gather;
    }
  }
  for (const bool real : {true, false}) {
    const Backend backend = real ? PlainCpu() : PlainNull();
    for (int r = 0; r < ranks; ++r) {
      NullCommunicator group(ranks, r);
      const Rank rank(table, pins, backend, group);
      const auto of = [&](MemoryClass c) {
        return rank.arena().use().current[static_cast<size_t>(c)];
      };
      EXPECT_EQ(of(MemoryClass::kWeights), weights);
      EXPECT_EQ(of(MemoryClass::kPinned), whole);
      EXPECT_EQ(of(MemoryClass::kGather), 2 * layer + head);
      EXPECT_EQ(of(MemoryClass::kTransport), transport);
    }
  }
}

TEST(UnitStoreNull, CountsGathersWithoutMemory) {
  const TensorTable table = TinyTable(Tie::kNo);
  const Backend backend = PlainNull();
  NullCommunicator group(4, 1);
  Rank rank(table, Pins::kNone, backend, group);
  for (size_t u = 1; u < table.units.size(); ++u) {
    for (int pass = 0; pass < 2; ++pass) {
      ASSERT_TRUE(rank.store().Acquire(static_cast<int>(u), rank.compute()).ok());
      ASSERT_TRUE(rank.store().Release(static_cast<int>(u), rank.compute()).ok());
    }
  }
  const TensorView out = TensorView::Of(nullptr, DType::kF32, 40, 32);
  ASSERT_TRUE(rank.store().GatherRows(0, nullptr, 40, out, rank.compute()).ok());
  EXPECT_EQ(group.bytes_sent().all_gather, PassGathers(table, MakePins(table, Pins::kNone), 4, 1));
  EXPECT_EQ(group.bytes_sent().exchange, 3 * 10 * 32 * 4);
}

TEST(UnitStoreMisuse, IsFatal) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TensorTable table = TinyTable(Tie::kNo);
  const Backend backend = PlainNull();
  NullCommunicator group(2, 0);
  Rank rank(table, Pins::kNone, backend, group);
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

TEST(UnitStoreErrors, AnIdOutsideTheTableNamesTensorAndRank) {
  const TensorTable table = TinyTable(Tie::kNo);
  const Backend backend = PlainCpu();
  std::vector<std::string> endings(2);
  RunRanks(2, {.timeout = std::chrono::milliseconds(300)}, [&](Communicator& group) {
    Rank rank(table, Pins::kNone, backend, group);
    const int32_t id = group.rank() == 1 ? 200 : 3;
    std::vector<float> out(32);
    (void)rank.store().GatherRows(0, &id, 1, TensorView::Of(out.data(), DType::kF32, 1, 32),
                                  rank.compute());
    endings[group.rank()] = group.stream().Synchronize().ToString();
  });
  EXPECT_NE(endings[1].find("rank 1: embed: id 200"), std::string::npos) << endings[1];
  EXPECT_NE(endings[0].find("DEADLINE_EXCEEDED"), std::string::npos) << endings[0];
}

}  // namespace
}  // namespace blockstep
