#include "dist/resident_weights.h"

#include "core/base/check.h"
#include "core/base/status.h"

namespace blockstep {

absl::StatusOr<ResidentWeights> ResidentWeights::Create(const TensorTable& table,
                                                        const std::vector<char>& pinned, int ranks,
                                                        int rank, Arena& arena) {
  CHECK_EQ(pinned.size(), table.units.size());
  ResidentWeights w;
  for (const char p : pinned) w.resident_.push_back(p || ranks == 1);
  for (const TensorInfo& t : table.tensors) {
    const bool whole = w.resident_[t.unit];
    const int64_t rows = whole ? PaddedRows(t, ranks) : ShardRows(t, ranks);
    TensorView view = TensorView::Of(nullptr, DType::kF32, rows, t.cols);
    ASSIGN_OR_RETURN(view.data,
                     arena.Allocate(pinned[t.unit] ? MemoryClass::kPinned : MemoryClass::kWeights,
                                    t.name, view.bytes()));
    const Range own = OwnedRows(t, ranks, rank);
    w.whole_.push_back(whole ? view.Rows(0, t.rows) : TensorView{});
    w.owned_.push_back(whole ? view.Rows(own.begin, own.end) : view.Rows(0, own.size()));
  }
  return w;
}

}  // namespace blockstep
