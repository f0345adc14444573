// accumulate: sharded. Every micro-step's dW is written to staging, reduced at once and added to
// the owner's rows, so a rank keeps only those. Active layers take turns in two staging areas:
// while one is reduced, backward fills the other. Embedding and head have a third; tied, the
// embedding's dW is written at both ends of backward, so the third holds both units side by side.
#include <algorithm>
#include <map>

#include "core/base/check.h"
#include "core/base/status.h"
#include "dist/grad_strategy.h"

namespace blockstep {
namespace {

constexpr int kEndsArea = 2;  // areas 0 and 1 are the layers'
constexpr int64_t kAlignment = 256;

class ShardedSum : public GradStrategy {
 public:
  explicit ShardedSum(const GradReducerOptions& options) : o_(options) {}

  absl::Status Carve(const std::vector<EntryGeometry>& entries, Arena& arena) override;
  GradTarget Target(int entry, const MicroStepPosition& micro) override;
  void Done(int entry, const MicroStepPosition& micro, Stream& compute) override;
  TensorView Reduced(int entry) const override { return reduced_[entry]; }

 private:
  struct Area {
    int64_t bytes = 0;
    char* data = nullptr;
    // Whose dW it holds: a change of user waits for the reductions of the last one.
    int unit = -1;
    int64_t micro_step = -1;
    Event reduced;
  };
  // Where an entry's dW is staged.
  struct Place {
    int area = 0;
    int64_t offset = 0;
  };
  void LayOut(const std::vector<EntryGeometry>& entries);
  TensorView Staged(int entry) const {
    const Place& p = places_[entry];
    return (*entries_)[entry].ViewAt(areas_[p.area].data + p.offset);
  }

  const GradReducerOptions o_;
  const std::vector<EntryGeometry>* entries_ = nullptr;
  Area areas_[3];
  std::vector<Place> places_;
  std::vector<TensorView> reduced_;
  Stream* compute_ = nullptr;  // the one that Done was last called with
};

void ShardedSum::LayOut(const std::vector<EntryGeometry>& entries) {
  places_.clear();
  for (Area& area : areas_) area = {};
  std::map<int, int64_t> used;  // per unit (tied ends: one key for both)
  std::map<int, int> area_of_layer;
  for (const EntryGeometry& e : entries) {
    const bool layer = e.kind == UnitKind::kLayer;
    if (layer) area_of_layer.try_emplace(e.unit, static_cast<int>(area_of_layer.size()) % 2);
    const int area = layer ? area_of_layer[e.unit] : kEndsArea;
    int64_t& at = used[!layer && o_.table->tied ? -1 : e.unit];
    places_.push_back({area, at});
    at += RoundUp(e.bytes(), kAlignment);
    areas_[area].bytes = std::max(areas_[area].bytes, at);
  }
  areas_[0].bytes = areas_[1].bytes = std::max(areas_[0].bytes, areas_[1].bytes);
}

absl::Status ShardedSum::Carve(const std::vector<EntryGeometry>& entries, Arena& arena) {
  entries_ = &entries;
  reduced_.clear();
  LayOut(entries);
  for (Area& area : areas_) {
    if (area.bytes == 0) continue;
    ASSIGN_OR_RETURN(void* data,
                     arena.Allocate(MemoryClass::kCommunication, "dW staging", area.bytes));
    area.data = static_cast<char*>(data);
  }
  const int rank = o_.data->rank();
  for (const EntryGeometry& e : entries) {
    TensorView view = TensorView::Of(nullptr, DType::kF32, e.owned[rank].size(), e.cols);
    if (view.rows > 0) {
      ASSIGN_OR_RETURN(view.data,
                       arena.Allocate(e.memory_class(), "reduced dW " + e.name, view.bytes()));
    }
    reduced_.push_back(view);
  }
  return absl::OkStatus();
}

GradTarget ShardedSum::Target(int entry, const MicroStepPosition& micro) {
  Area& area = areas_[places_[entry].area];
  const int unit = (*entries_)[entry].unit;
  const bool tied_ends = places_[entry].area == kEndsArea && o_.table->tied;
  if (area.micro_step != micro.index || (area.unit != unit && !tied_ends)) {
    if (compute_ != nullptr) compute_->Wait(area.reduced);
    area.unit = unit;
    area.micro_step = micro.index;
  }
  return {Staged(entry), Accumulate::kAssign};
}

void ShardedSum::Done(int entry, const MicroStepPosition& micro, Stream& compute) {
  CHECK(compute_ == nullptr || compute_ == &compute);  // Target's waits go to this stream
  compute_ = &compute;
  const EntryGeometry& e = (*entries_)[entry];
  const TensorView staged = Staged(entry);
  if (!micro.wrote) {
    Target(entry, micro);  // waits for the last user of the area, as a writer does
    o_.backend->kernels->fill(compute, {.dst = staged, .value = 0.0f});
  }
  const Range own = e.owned[o_.data->rank()];
  float* in = static_cast<float*>(staged.data);
  float* own_part = in + own.begin * e.cols;
  ReduceSegment segment{.in = in, .out = own_part};
  if (micro.first && !own.empty()) segment.out = static_cast<float*>(reduced_[entry].data);
  for (const Range& rows : e.owned) segment.offsets.push_back(rows.begin * e.cols);
  segment.offsets.push_back(e.rows() * e.cols);
  Stream& comm = o_.data->stream();
  comm.Wait(compute.Record());
  o_.data->ReduceScatter({std::move(segment)}, "reduce " + e.name);
  if (!micro.first && !own.empty()) {
    o_.backend->kernels->add(comm,
                             {.src = staged.Rows(own.begin, own.end), .dst = reduced_[entry]});
  }
  areas_[places_[entry].area].reduced = comm.Record();
  if (micro.last) ReduceAcross(o_, reduced_[entry], e.name);
}

}  // namespace

std::unique_ptr<GradStrategy> NewShardedSum(const GradReducerOptions& options) {
  return std::make_unique<ShardedSum>(options);
}

}  // namespace blockstep
