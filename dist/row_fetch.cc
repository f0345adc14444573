#include "dist/row_fetch.h"

#include <algorithm>
#include <cstring>

#include "core/base/check.h"
#include "core/base/status.h"
#include "core/device/host_stream.h"

namespace blockstep {

absl::StatusOr<std::unique_ptr<RowFetch>> RowFetch::Create(const TensorInfo& tensor,
                                                           const Backend& backend,
                                                           Communicator* group, int64_t max_tokens,
                                                           Arena& arena) {
  std::unique_ptr<RowFetch> f(new RowFetch(tensor, group));
  const int64_t most = std::min(max_tokens, tensor.rows);
  f->real_ = backend.device.real_memory;
  if (f->real_ && !backend.device.host_accessible) {
    return FailedPrecondition("backend ", backend.name, ", rank ", group->rank(),
                              ": fetching rows of ", tensor.name,
                              " by id needs memory that the host can read; pin unit ", tensor.unit);
  }
  f->stride_ = most + 1;
  ASSIGN_OR_RETURN(void* lists,
                   arena.Allocate(MemoryClass::kCommunication, Cat(tensor.name, " ids"),
                                  group->size() * f->stride_ * DTypeSize(DType::kI32)));
  f->lists_ = static_cast<int32_t*>(lists);
  for (TensorView* slab : {&f->send_, &f->recv_}) {
    *slab = TensorView::Of(nullptr, DType::kF32, most, tensor.cols);
    ASSIGN_OR_RETURN(slab->data, arena.Allocate(MemoryClass::kCommunication,
                                                Cat(tensor.name, " rows"), slab->bytes()));
  }
  return f;
}

RowFetch::List RowFetch::List::Within(Range rows) const {
  return {std::lower_bound(begin, end, rows.begin), std::lower_bound(begin, end, rows.end)};
}

RowFetch::List RowFetch::ListOf(int rank) const {
  const int32_t* list = lists_ + rank * stride_;
  return {list + 1, list + 1 + list[0]};
}

absl::Status RowFetch::MakeOwnList(const int32_t* ids, int64_t n) {
  std::vector<int32_t> sorted(ids, ids + n);
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  if (!sorted.empty() && (sorted.front() < 0 || sorted.back() >= tensor_.rows)) {
    return OnRank(
        absl::OutOfRangeError(Cat(tensor_.name, ": expected ids in [0, ", tensor_.rows, "), got ",
                                  sorted.front() < 0 ? sorted.front() : sorted.back())),
        {.rank = group_->rank(), .ranks = group_->size()});
  }
  int32_t* list = lists_ + group_->rank() * stride_;
  list[0] = static_cast<int32_t>(sorted.size());
  std::copy(sorted.begin(), sorted.end(), list + 1);
  return absl::OkStatus();
}

// Packs what rank + k wants of this rank; leaves room for what rank - k sends.
ExchangeLists RowFetch::Round(int k, TensorView owned) {
  const int size = group_->size(), rank = group_->rank();
  const int to = (rank + k) % size, from = (rank - k + size) % size;
  const List wanted = ListOf(to).Within(Owned(rank));
  const int64_t first = Owned(rank).begin;
  int64_t at = 0;
  for (const int32_t* id = wanted.begin; id != wanted.end; ++id, ++at) {
    std::memcpy(send_.f32(at), owned.f32(*id - first), tensor_.cols * sizeof(float));
  }
  const List mine = ListOf(rank);
  const List theirs = mine.Within(Owned(from));
  const int64_t row_bytes = tensor_.cols * static_cast<int64_t>(sizeof(float));
  return {.sends = {{to, send_.data, wanted.size() * row_bytes}},
          .recvs = {{from, recv_.f32(theirs.begin - mine.begin), theirs.size() * row_bytes}}};
}

ExchangeLists RowFetch::AssumedRound(int k, int64_t n) {
  const int size = group_->size(), rank = group_->rank();
  const int64_t bytes =
      std::min(n, stride_ - 1) / size * tensor_.cols * static_cast<int64_t>(sizeof(float));
  return {.sends = {{(rank + k) % size, send_.data, bytes}},
          .recvs = {{(rank - k + size) % size, recv_.data, bytes}}};
}

void RowFetch::Scatter(TensorView owned, const int32_t* ids, int64_t n, TensorView out) const {
  const List mine = ListOf(group_->rank());
  const Range own = Owned(group_->rank());
  for (int64_t i = 0; i < n; ++i) {
    const int64_t id = ids[i];
    const float* row = id >= own.begin && id < own.end
                           ? owned.f32(id - own.begin)
                           : recv_.f32(std::lower_bound(mine.begin, mine.end, ids[i]) - mine.begin);
    std::memcpy(out.f32(i), row, tensor_.cols * sizeof(float));
  }
}

void RowFetch::Fetch(TensorView owned, const int32_t* ids, int64_t n, TensorView out,
                     Stream& compute) {
  CHECK_LE(0, n);
  HostStream& comm = OnHost(group_->stream());
  comm.Wait(compute.Record());
  if (real_) comm.RunFallible([=, this] { return MakeOwnList(ids, n); });
  GatherSegment segment{.base = lists_};
  for (int r = 0; r <= group_->size(); ++r) {
    segment.offsets.push_back(r * stride_ * DTypeSize(DType::kI32));
  }
  group_->AllGather({std::move(segment)}, "token ids");
  for (int k = 1; k < group_->size(); ++k) {
    group_->ExchangeDeferred([=, this] { return real_ ? Round(k, owned) : AssumedRound(k, n); },
                             "embedding rows");
  }
  if (real_) {
    comm.RunFallible([=, this] {
      Scatter(owned, ids, n, out);
      return absl::OkStatus();
    });
  }
  compute.Wait(comm.Record());
}

}  // namespace blockstep
