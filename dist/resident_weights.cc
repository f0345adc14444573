#include "dist/resident_weights.h"

#include "core/base/check.h"
#include "core/base/status.h"
#include "core/tensor/sharding.h"

namespace blockstep {
namespace {

// That pinning `unit` adds to a rank that keeps its share anyway.
int64_t PinBytes(const TensorTable& table, int unit, int64_t shards) {
  int64_t bytes = 0;
  for (int t : table.units[unit].tensors) {
    const TensorInfo& tensor = table.tensors[t];
    bytes += (PaddedRows(tensor, shards) - ShardRows(tensor, shards)) * tensor.row_bytes();
  }
  return bytes;
}

}  // namespace

std::vector<char> PinsWithin(const TensorTable& table, int64_t shards, int64_t budget) {
  std::vector<char> pinned(table.units.size(), 0);
  for (int unit = static_cast<int>(table.units.size()) - 1; unit >= 0; --unit) {
    const int64_t bytes = PinBytes(table, unit, shards);
    if (bytes > budget) continue;
    budget -= bytes;
    pinned[unit] = 1;
  }
  return pinned;
}

absl::StatusOr<ResidentWeights> ResidentWeights::Create(const TensorTable& table,
                                                        const std::vector<char>& pinned, int ranks,
                                                        int rank, Arena& arena) {
  CHECK_EQ(pinned.size(), table.units.size());
  ResidentWeights w;
  for (const char p : pinned) w.resident_.push_back(p || ranks == 1);
  for (const TensorInfo& t : table.tensors) {
    const bool whole = w.resident_[t.unit];
    const int64_t rows = whole ? PaddedRows(t, ranks) : ShardRows(t, ranks);
    TensorView view = TensorView::Of(nullptr, t.dtype, rows, t.cols);
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
