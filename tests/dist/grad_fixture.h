// A backward pass without a model: every slot has a known dW for every entry, handed to a
// GradReducer in the order a model does.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <vector>

#include "dist/grad_reducer.h"
#include "tests/dist/plain_backend.h"
#include "tests/dist/tiny_table.h"

namespace blockstep {

inline float SlotGradient(int tensor, int64_t slot, int64_t element) {
  return Noise(1000 * (static_cast<uint64_t>(slot) + 1) + static_cast<uint64_t>(tensor), element);
}

struct GradCase {
  Numerics numerics = Numerics::kFast;
  GradAccumulation accumulation = GradAccumulation::kLocal;
  int64_t slots = 8;        // S
  int64_t micro_slots = 1;  // B
};

inline SlotSpan SpanOf(const GradCase& c, int ranks, int rank) {
  SlotSpan span{.slots = c.slots, .mine = SplitEvenly(c.slots, ranks, rank)};
  int64_t most = 0;
  for (int r = 0; r < ranks; ++r) {
    most = std::max(most, SplitEvenly(c.slots, ranks, r).size());
  }
  span.micro_steps = DivCeil(most, c.micro_slots);
  return span;
}

class GradRank {
 public:
  GradRank(const TensorTable& table, const GradCase& c, const Backend& backend, Communicator& group)
      : table_(table),
        case_(c),
        backend_(backend),
        span_(SpanOf(c, group.size(), group.rank())),
        group_(group),
        pool_(1),
        compute_(backend.device.new_compute_stream("compute", &pool_, 7 + group.rank())),
        arena_(Arena::Reserve(backend_, int64_t{64} << 20).value()),
        reducer_(GradReducer::Create({.table = &table,
                                      .backend = &backend_,
                                      .data = &group,
                                      .numerics = c.numerics,
                                      .accumulation = c.accumulation},
                                     span_)
                     .value()) {}

  void Begin(const ActiveSet& set) {
    Ok(compute_->Synchronize());
    Ok(group_.Synchronize());
    arena_.ReleaseTo(empty_);
    set_ = set;
    Ok(reducer_->BeginPhase(set, arena_));
  }

  // All micro-steps of one step; gradients are those of slots first_slot + own slots.
  // `before` runs before each entry's dW is written.
  void Step(int64_t first_slot = 0, const std::function<void(int entry)>& before = nullptr) {
    for (int64_t m = 0; m < span_.micro_steps; ++m) {
      const Range local =
          Intersect({m * case_.micro_slots, (m + 1) * case_.micro_slots}, {0, span_.mine.size()});
      reducer_->BeginMicroStep(m, local.size());
      // Tied, the embedding's dW is written at the head's end first and added to at its own.
      const bool early = table_.tied && set_.entries[0].tensor == 0;
      if (early) WriteOwnSlots(0, reducer_->Target(0), first_slot, local);
      for (int e = static_cast<int>(set_.entries.size()) - 1; e >= 0; --e) {
        if (before) before(e);
        const GradTarget target = reducer_->Target(e);
        if (e > 0 || !early) WriteOwnSlots(e, target, first_slot, local);
        Ok(reducer_->Done(e, *compute_));
      }
    }
    Ok(reducer_->Finish(*compute_));
  }

  // Reads what is reduced in compute's order, as an update does.
  std::vector<std::vector<float>> Reduced() {
    std::vector<std::vector<float>> all(set_.entries.size());
    for (size_t e = 0; e < all.size(); ++e) {
      const TensorView view = reducer_->Reduced(static_cast<int>(e));
      EXPECT_EQ(view.rows, reducer_->ReducedRows(static_cast<int>(e)).size());
      OnHost(*compute_).Run([view, out = &all[e]] {
        for (int64_t r = 0; r < view.rows; ++r) {
          out->insert(out->end(), view.f32(r), view.f32(r) + view.cols);
        }
      });
    }
    Ok(compute_->Synchronize());
    Ok(group_.Synchronize());
    return all;
  }

  GradReducer& reducer() { return *reducer_; }
  const Arena& arena() const { return arena_; }
  Stream& compute() { return *compute_; }

 private:
  void Ok(const absl::Status& s) { ASSERT_TRUE(s.ok()) << s; }

  void WriteOwnSlots(int e, const GradTarget& target, int64_t first_slot, Range local) {
    if (local.empty()) return;
    const int64_t slot0 = first_slot + span_.mine.begin;
    const ActiveEntry& entry = set_.entries[e];
    const TensorView dw = target.dw;
    ASSERT_EQ(dw.rows, entry.rows.size());
    const bool add = target.accumulate == Accumulate::kAdd;
    OnHost(*compute_).Run([=] {
      for (int64_t r = 0; r < dw.rows; ++r) {
        for (int64_t c = 0; c < dw.cols; ++c) {
          float sum = 0;
          for (int64_t s = local.begin; s < local.end; ++s) {
            sum += SlotGradient(entry.tensor, slot0 + s, (entry.rows.begin + r) * dw.cols + c);
          }
          dw.f32(r)[c] = add ? dw.f32(r)[c] + sum : sum;
        }
      }
    });
  }

  const TensorTable& table_;
  const GradCase case_;
  const Backend backend_;
  const SlotSpan span_;
  Communicator& group_;
  ThreadPool pool_;
  std::unique_ptr<Stream> compute_;
  Arena arena_;
  const Arena::Mark empty_ = arena_.GetMark();
  std::unique_ptr<GradReducer> reducer_;
  ActiveSet set_;
};

}  // namespace blockstep
