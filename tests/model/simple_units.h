// UnitSource and GradSink of a single rank that holds every tensor whole, with the protocol
// checked: units are acquired before they are read and released after, targets are done once.
#pragma once

#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "core/base/check.h"
#include "core/base/str.h"
#include "core/device/arena.h"
#include "core/ops/kernel_table.h"
#include "core/step/grad_sink.h"
#include "core/step/unit_source.h"

namespace blockstep::testing {

inline TensorView Carve(Arena& arena, MemoryClass cls, const std::string& name, int64_t rows,
                        int64_t cols) {
  auto data = arena.Allocate(cls, name, rows * cols * 4);
  CHECK_OK(data);
  return TensorView::Of(*data, DType::kF32, rows, cols);
}

class SimpleUnits : public UnitSource {
 public:
  SimpleUnits(const TensorTable& table, const Backend& backend, Arena& arena)
      : table_(table), kernels_(*backend.kernels) {
    for (const TensorInfo& t : table.tensors) {
      weights_.push_back(Carve(arena, MemoryClass::kPinned, t.name, t.rows, t.cols));
    }
  }
  TensorView Owned(int tensor) const { return weights_[tensor]; }

  absl::Status Prefetch(int unit) override {
    log.push_back(Cat("prefetch ", table_.units[unit].name));
    CHECK(prefetched_.insert(unit).second);
    CHECK_LE(LayersHeld(), 2);
    return absl::OkStatus();
  }
  absl::Status Acquire(int unit, Stream&) override {
    log.push_back(Cat("acquire ", table_.units[unit].name));
    CHECK(prefetched_.erase(unit) == 1);  // everything was announced before
    CHECK(acquired_.insert(unit).second);
    CHECK_LE(LayersHeld(), 2);
    return absl::OkStatus();
  }
  TensorView Weight(int tensor) const override {
    const int head = static_cast<int>(table_.units.size()) - 1;
    // A tied head's matrix comes with the head.
    const bool by_head = table_.tied && tensor == 0 && acquired_.contains(head);
    CHECK(by_head || acquired_.contains(table_.tensors[tensor].unit));
    return weights_[tensor];
  }
  absl::Status Release(int unit, Stream&) override {
    log.push_back(Cat("release ", table_.units[unit].name));
    CHECK(acquired_.erase(unit) == 1);
    return absl::OkStatus();
  }
  absl::Status GatherRows(int tensor, const int32_t* ids, int64_t n, TensorView out,
                          Stream& compute) override {
    log.push_back(Cat("gather rows ", n));
    if (n > 0) {
      kernels_.embedding_forward(compute, {.table = weights_[tensor], .ids = ids, .out = out});
    }
    return absl::OkStatus();
  }
  bool idle() const { return acquired_.empty() && prefetched_.empty(); }

  std::vector<std::string> log;

 private:
  // Layers on their way or in use; there are buffers for two.
  int LayersHeld() const {
    int held = 0;
    for (const auto* units : {&acquired_, &prefetched_}) {
      for (const int unit : *units) held += table_.units[unit].kind == UnitKind::kLayer;
    }
    return held;
  }

  const TensorTable& table_;
  const KernelTable& kernels_;
  std::vector<TensorView> weights_;
  std::set<int> acquired_, prefetched_;
};

class SimpleSink : public GradSink {
 public:
  SimpleSink(const ActiveSet& set, const TensorTable& table, Arena& arena) : set_(set) {
    for (const ActiveEntry& e : set.entries) {
      const TensorInfo& t = table.tensors[e.tensor];
      dw_.push_back(Carve(arena, MemoryClass::kGradients, "dW " + t.name, e.rows.size(), t.cols));
    }
  }
  // The next micro-step's writes: kAssign the first time, kAdd afterwards.
  void Begin(Accumulate accumulate) {
    accumulate_ = accumulate;
    state_.assign(set_.entries.size(), 0);
    done_order.clear();
  }
  GradTarget Target(int entry) override {
    CHECK_EQ(state_[entry]++, 0);
    return {.dw = dw_[entry], .accumulate = accumulate_};
  }
  absl::Status Done(int entry, Stream&) override {
    CHECK_EQ(state_[entry]++, 1);
    done_order.push_back(entry);
    return absl::OkStatus();
  }
  bool all_done() const {
    for (int s : state_) {
      if (s != 2) return false;
    }
    return true;
  }
  TensorView dw(int entry) const { return dw_[entry]; }

  std::vector<int> done_order;

 private:
  ActiveSet set_;
  std::vector<TensorView> dw_;
  std::vector<int> state_;  // 0, 1 target given, 2 done
  Accumulate accumulate_ = Accumulate::kAssign;
};

}  // namespace blockstep::testing
