#include "dist/gather_buffer.h"

#include "core/base/check.h"
#include "core/ops/kernel_table.h"

namespace blockstep {
namespace {

constexpr int64_t kAlignment = 256;

int64_t PlaceBytes(const TensorInfo& t) { return RoundUp(t.bytes(), kAlignment); }

}  // namespace

int64_t GatherBuffer::BytesFor(const TensorTable& table, const std::vector<int>& tensors) {
  int64_t bytes = 0;
  for (const int t : tensors) bytes += PlaceBytes(table.tensors[t]);
  return bytes;
}

void GatherBuffer::StartGather(int unit, int64_t version, const std::vector<Source>& sources,
                               const TensorTable& table, const Backend& backend,
                               Communicator& group, std::string what) {
  CHECK(state_ == State::kEmpty);
  state_ = State::kGathering;
  unit_ = unit;
  version_ = version;
  views_.clear();
  Stream& comm = group.stream();
  comm.Wait(released_);
  std::vector<GatherSegment> segments;
  int64_t offset = 0;
  for (const Source& source : sources) {
    const TensorInfo& t = table.tensors[source.tensor];
    const TensorView place =
        TensorView::Of(static_cast<char*>(data_) + offset, t.dtype, t.rows, t.cols);
    offset += PlaceBytes(t);
    GatherSegment segment{.base = place.data};
    for (int r = 0; r < group.size(); ++r) {
      segment.offsets.push_back(OwnedRows(t, group.size(), r).begin * t.row_bytes());
    }
    segment.offsets.push_back(place.bytes());
    const Range own = OwnedRows(t, group.size(), group.rank());
    comm.Wait(source.written);
    if (!own.empty()) {
      backend.kernels->copy(comm, {.src = source.owned, .dst = place.Rows(own.begin, own.end)});
    }
    segments.push_back(std::move(segment));
    views_.push_back(place);
  }
  CHECK_LE(offset, bytes_);
  group.AllGather(std::move(segments), std::move(what));
  ready_ = comm.Record();
}

const Event& GatherBuffer::Acquire(int64_t version) {
  CHECK(state_ == State::kGathering);
  CHECK_EQ(version_, version);  // gathered before an update that was published since
  state_ = State::kInUse;
  return ready_;
}

const std::vector<TensorView>& GatherBuffer::views() const {
  CHECK(state_ == State::kInUse);
  return views_;
}

void GatherBuffer::Release(Stream& compute, const Backend& backend, int64_t count) {
  CHECK(state_ == State::kInUse);
  state_ = State::kEmpty;
  unit_ = -1;
  last_release_ = count;
  if (backend.device.poison != nullptr) backend.device.poison(compute, data_, bytes_);
  released_ = compute.Record();
}

}  // namespace blockstep
