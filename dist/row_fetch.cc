#include "dist/row_fetch.h"

#include <algorithm>

#include "core/base/check.h"
#include "core/base/status.h"

namespace blockstep {

absl::StatusOr<std::unique_ptr<RowFetch>> RowFetch::Create(const TensorInfo& tensor,
                                                           const Backend& backend, RankGroup group,
                                                           int64_t max_tokens, Arena& arena) {
  std::unique_ptr<RowFetch> f(new RowFetch(tensor, backend, group));
  ASSIGN_OR_RETURN(void* indices,
                   arena.Allocate(MemoryClass::kCommunication, Cat(tensor.name, " row indices"),
                                  max_tokens * DTypeSize(DType::kI32)));
  f->indices_ = static_cast<int32_t*>(indices);
  for (TensorView* slab : {&f->send_, &f->recv_}) {
    *slab = TensorView::Of(nullptr, tensor.dtype, std::min(max_tokens, tensor.rows), tensor.cols);
    ASSIGN_OR_RETURN(slab->data, arena.Allocate(MemoryClass::kCommunication,
                                                Cat(tensor.name, " rows"), slab->bytes()));
  }
  return f;
}

absl::Status RowFetch::Plan(std::span<const RowIds> micro_steps) {
  fetched_.Block();  // its lists may still be read
  next_ = 0;
  ASSIGN_OR_RETURN(planned_, ExchangeRowLists(tensor_, micro_steps, *group_.control));
  return absl::OkStatus();
}

void RowFetch::Take(TensorView table, const std::vector<int32_t>& ids, TensorView to) {
  if (ids.empty()) return;
  Stream& comm = group_.data->stream();
  CopyToDevice(backend_, comm, indices_, ids.data(),
               static_cast<int64_t>(ids.size() * sizeof(int32_t)));
  backend_.kernels->embedding_forward(comm, {.table = table, .ids = indices_, .out = to});
}

void RowFetch::Fetch(TensorView owned, TensorView out, Stream& compute) {
  CHECK_LT(next_, planned_.size());  // fetched without having been planned
  const RowLists& lists = planned_[next_++];
  CHECK_EQ(out.rows, static_cast<int64_t>(lists.positions.size()));
  const int size = group_.size(), rank = group_.rank();
  const auto from = [&](int r) { return recv_.Rows(lists.from[r], lists.from[r + 1]); };
  Stream& comm = group_.data->stream();
  comm.Wait(compute.Record());
  Take(owned, lists.asked[rank], from(rank));
  for (int k = 1; k < size; ++k) {
    const int to = (rank + k) % size, sender = (rank - k + size) % size;
    const TensorView packed = send_.Rows(0, static_cast<int64_t>(lists.asked[to].size()));
    Take(owned, lists.asked[to], packed);
    const TensorView place = from(sender);
    group_.data->Exchange({{to, packed.data, packed.bytes()}},
                          {{sender, place.data, place.bytes()}}, "embedding rows");
  }
  Take(recv_, lists.positions, out);
  fetched_ = comm.Record();
  compute.Wait(fetched_);
}

}  // namespace blockstep
