// One rank of a UnitStore test: its store, its streams, a pass like a model's, and the checks.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <map>
#include <set>

#include "dist/unit_store.h"
#include "tests/dist/plain_backend.h"
#include "tests/dist/ranks.h"
#include "tests/dist/tiny_table.h"

namespace blockstep {

inline constexpr int64_t kMaxTokens = 64;
inline constexpr int64_t kArenaBytes = 8 << 20;

// The weights after `version` updates of the active rows.
inline float Expected(int tensor, int64_t row, int64_t cols, int64_t col, int version) {
  return Noise(static_cast<uint64_t>(tensor), row * cols + col) + static_cast<float>(version);
}

enum class Pins { kNone, kAll, kSome };

inline std::vector<char> MakePins(const TensorTable& table, Pins pins) {
  std::vector<char> pinned(table.units.size(), pins == Pins::kAll);
  if (pins == Pins::kSome) pinned[1] = pinned.back() = 1;
  return pinned;
}

// One layer, part of the embedding, and the final norm.
inline ActiveSet SomeActive(const TensorTable& table) {
  ActiveSet set;
  set.entries.push_back({.tensor = 0, .rows = {64, 200}});
  for (const int t : table.units[1].tensors) set.entries.push_back(WholeTensor(table, t));
  set.entries.push_back({.tensor = table.units[3].tensors[2], .rows = {0, 64}});
  set.entries.push_back(WholeTensor(table, table.units[4].tensors[1], Role::kProbe));
  set.entries.push_back(WholeTensor(table, table.units.back().tensors[0]));
  return set;
}

inline int VersionOf(const ActiveSet& set, int tensor, int64_t row, int updates) {
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
  Rank(const TensorTable& table, Pins pins, const Backend& backend, const RankGroup& group)
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
                                .group = group,
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
      OnHost(*compute_).Run([view, rows, e, table, updates = updates_ + 1] {
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
    Ok(group_.data->Synchronize());
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
    OnHost(*compute_).Run([this, view, tensor, rows = std::move(rows), updates = updates_] {
      int64_t wrong = 0;
      for (int64_t i = 0; i < view.rows; ++i) {
        const int version = VersionOf(set_, tensor, rows[i], updates);
        for (int64_t c = 0; c < view.cols; ++c) {
          wrong += !(view.f32(i)[c] == Expected(tensor, rows[i], view.cols, c, version));
        }
      }
      wrong_ += wrong;
      compared_ += view.size();
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
    const std::vector<int32_t> ids(rows.begin(), rows.end());
    const RowIds micro_step{.ids = ids.data(), .n = n};
    Ok(store_->PlanRows({&micro_step, 1}));
    OnHost(*compute_).Run([device = ids_, ids] { std::copy(ids.begin(), ids.end(), device); });
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
  const RankGroup group_;
  ThreadPool pool_;
  std::atomic<int64_t> wrong_{0}, compared_{0};
  int updates_ = 0;
  std::unique_ptr<Stream> compute_;
  Arena arena_;
  int32_t* ids_ = nullptr;
  TensorView rows_;
  std::unique_ptr<UnitStore> store_;
};

}  // namespace blockstep
