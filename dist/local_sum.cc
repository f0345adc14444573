// accumulate: local. One dW buffer per entry takes the sum of all micro-steps; the last one's Done
// reduces it in place, so the owner's rows are the result.
#include "core/base/status.h"
#include "dist/grad_strategy.h"

namespace blockstep {
namespace {

class LocalSum : public GradStrategy {
 public:
  explicit LocalSum(const GradReducerOptions& options) : o_(options) {}

  absl::Status Carve(const std::vector<EntryGeometry>& entries, Arena& arena) override {
    entries_ = &entries;
    dw_.clear();
    for (const EntryGeometry& e : entries) {
      ASSIGN_OR_RETURN(void* data, arena.Allocate(e.memory_class(), "dW " + e.name, e.bytes()));
      dw_.push_back(e.ViewAt(data));
    }
    written_.assign(entries.size(), 0);
    return absl::OkStatus();
  }

  GradTarget Target(int entry, const MicroStepPosition& micro) override {
    if (micro.first) written_[entry] = 0;
    return {dw_[entry], written_[entry] ? Accumulate::kAdd : Accumulate::kAssign};
  }

  void Done(int entry, const MicroStepPosition& micro, Stream& compute) override {
    if (micro.first) written_[entry] = 0;
    written_[entry] |= micro.wrote;
    if (!micro.last) return;
    if (!written_[entry]) o_.backend->kernels->fill(compute, {.dst = dw_[entry], .value = 0.0f});
    if (o_.data->size() == 1 && o_.across == nullptr) return;
    o_.data->stream().Wait(compute.Record());
    ReduceInside(entry);
    ReduceAcross(o_, Reduced(entry), (*entries_)[entry].name);
  }

  TensorView Reduced(int entry) const override {
    const Range rows = (*entries_)[entry].owned[o_.data->rank()];
    return dw_[entry].Rows(rows.begin, rows.end);
  }

 private:
  void ReduceInside(int entry) {
    if (o_.data->size() == 1) return;
    const EntryGeometry& e = (*entries_)[entry];
    float* dw = static_cast<float*>(dw_[entry].data);
    ReduceSegment segment{.in = dw, .out = dw + e.owned[o_.data->rank()].begin * e.cols};
    for (const Range& rows : e.owned) segment.offsets.push_back(rows.begin * e.cols);
    segment.offsets.push_back(e.rows() * e.cols);
    o_.data->ReduceScatter({std::move(segment)}, "reduce " + e.name);
  }

  const GradReducerOptions o_;
  const std::vector<EntryGeometry>* entries_ = nullptr;
  std::vector<TensorView> dw_;
  std::vector<char> written_;  // in this step
};

}  // namespace

std::unique_ptr<GradStrategy> NewLocalSum(const GradReducerOptions& options) {
  return std::make_unique<LocalSum>(options);
}

}  // namespace blockstep
