#include "dist/ordered_communicator.h"

#include <utility>

#include "core/base/check.h"
#include "core/base/status.h"

namespace blockstep {

std::string CommCall::Text() const { return Cat(op, " \"", what, "\" (call ", sequence, ")"); }

int64_t SentByAllGather(const std::vector<GatherSegment>& segments, int rank, int size) {
  int64_t own = 0;
  for (const GatherSegment& s : segments) own += s.offsets[rank + 1] - s.offsets[rank];
  return own * (size - 1);
}

int64_t SentByReduceScatter(const std::vector<ReduceSegment>& segments, int rank) {
  int64_t others = 0;
  for (const ReduceSegment& s : segments) {
    const int64_t own = s.offsets[rank + 1] - s.offsets[rank];
    others += s.offsets.back() - s.offsets.front() - own;
  }
  return others * static_cast<int64_t>(sizeof(float));
}

int64_t SentByExchange(const std::vector<PeerSend>& sends, int rank) {
  int64_t others = 0;
  for (const PeerSend& s : sends) others += s.peer == rank ? 0 : s.bytes;
  return others;
}

void OrderedCommunicator::Order(std::string_view op, std::string what,
                                std::function<absl::Status(const CommCall&)> work) {
  const int64_t sequence = ++issued_;
  stream().RunFallible([this, op, what = std::move(what), sequence, work = std::move(work)] {
    const CommCall call{.op = op, .what = what, .sequence = sequence};
    {
      std::lock_guard lock(mutex_);
      progress_ = {sequence, std::string(op), what, true, Tracer::Now()};
    }
    ScopedSpan span(tracer_, "comm", what);
    const absl::Status status = work(call);
    std::lock_guard lock(mutex_);
    progress_.running = false;
    progress_.since_ns = Tracer::Now();
    return status;
  });
}

void OrderedCommunicator::Count(int64_t CommBytes::*kind, int64_t bytes) {
  std::lock_guard lock(mutex_);
  bytes_.*kind += bytes;
  ++bytes_.calls;
}

void OrderedCommunicator::AllGather(std::vector<GatherSegment> segments, std::string what) {
  for (const GatherSegment& s : segments) CHECK_EQ(static_cast<int>(s.offsets.size()), size_ + 1);
  Count(&CommBytes::all_gather, SentByAllGather(segments, rank_, size_));
  Order("all-gather", std::move(what),
        [this, segments = std::move(segments)](const CommCall& call) {
          return DoAllGather(call, segments);
        });
}

void OrderedCommunicator::ReduceScatter(std::vector<ReduceSegment> segments, std::string what) {
  for (const ReduceSegment& s : segments) CHECK_EQ(static_cast<int>(s.offsets.size()), size_ + 1);
  Count(&CommBytes::reduce_scatter, SentByReduceScatter(segments, rank_));
  Order("reduce-scatter", std::move(what),
        [this, segments = std::move(segments)](const CommCall& call) {
          return DoReduceScatter(call, segments);
        });
}

void OrderedCommunicator::Broadcast(void* data, int64_t bytes, int root, std::string what) {
  CHECK_LE(0, root);
  CHECK_LT(root, size_);
  Count(&CommBytes::broadcast, rank_ == root ? bytes * (size_ - 1) : 0);
  Order("broadcast", std::move(what), [this, data, bytes, root](const CommCall& call) {
    return DoBroadcast(call, data, bytes, root);
  });
}

void OrderedCommunicator::Exchange(std::vector<PeerSend> sends, std::vector<PeerRecv> recvs,
                                   std::string what) {
  Count(&CommBytes::exchange, SentByExchange(sends, rank_));
  Order("exchange", std::move(what),
        [this, lists = ExchangeLists{std::move(sends), std::move(recvs)}](const CommCall& call) {
          return DoExchange(call, lists);
        });
}

void OrderedCommunicator::Barrier(std::string what) {
  Count(&CommBytes::exchange, 0);
  Order("barrier", std::move(what), [this](const CommCall& call) { return DoBarrier(call); });
}

CommBytes OrderedCommunicator::bytes_sent() const {
  std::lock_guard lock(mutex_);
  return bytes_;
}

CommProgress OrderedCommunicator::progress() const {
  std::lock_guard lock(mutex_);
  return progress_;
}

}  // namespace blockstep
