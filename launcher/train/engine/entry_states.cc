#include "launcher/train/engine/entry_states.h"

#include "core/base/status.h"
#include "core/tensor/sharding.h"

namespace blockstep {

absl::Status EntryStates::Begin(const ActiveSet& set, int64_t shards, int64_t shard,
                                const KernelTable& kernels, Stream& compute, Arena& arena) {
  entries_.clear();
  for (const ActiveEntry& entry : set.entries) {
    if (entry.role != Role::kTrain) continue;
    if (entry.rule < 0 || entry.rule >= static_cast<int>(rules_.size())) {
      return InvalidArgument("active set: ", table_.tensors[entry.tensor].name,
                             ": expected an update rule below ", rules_.size(), ", got ",
                             entry.rule);
    }
    const TensorInfo& tensor = table_.tensors[entry.tensor];
    EntryState state{.entry = entry,
                     .rows = Intersect(OwnedRows(tensor, shards, shard), entry.rows),
                     .specs = rules_[entry.rule]->States(tensor)};
    for (const StateSpec& spec : state.specs) {
      const bool like = spec.layout == StateLayout::kLikeTensor;
      const int64_t rows = like ? state.rows.size() : 1;
      const int64_t cols = like ? tensor.cols : spec.replicated_elements;
      TensorView view = TensorView::Of(nullptr, spec.dtype, rows, cols);
      if (view.size() > 0) {
        ASSIGN_OR_RETURN(view.data, arena.Allocate(MemoryClass::kState,
                                                   Cat(tensor.name, ".", spec.name), view.bytes()));
        kernels.fill(compute, {.dst = view, .value = 0.0f});
      }
      state.tensors.push_back(view);
    }
    entries_.push_back(std::move(state));
  }
  return absl::OkStatus();
}

bool EntryStates::Matches(const ActiveSet& set) const {
  size_t i = 0;
  for (const ActiveEntry& entry : set.entries) {
    if (entry.role != Role::kTrain) continue;
    if (i == entries_.size() || !(entries_[i].entry == entry)) return false;
    ++i;
  }
  return i == entries_.size();
}

}  // namespace blockstep
