#include "dist/ordered_communicator.h"

#include <memory>
#include <optional>
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

// One call, from its issue to its end or to when it is given up.
class OrderedCommunicator::Flight {
 public:
  Flight(OrderedCommunicator& owner, std::string_view op, std::string what, int64_t sequence,
         Begin begin)
      : owner_(owner),
        what_(std::move(what)),
        call_{.op = op, .what = what_, .sequence = sequence},
        begin_(std::move(begin)) {}
  // What is given up does not wait any longer.
  ~Flight() { End(); }
  Flight(const Flight&) = delete;

  absl::StatusOr<Polled> Poll() {
    absl::StatusOr<Polled> polled = Look();
    if (!polled.ok() || *polled == Polled::kDone) End();
    return polled;
  }

 private:
  absl::StatusOr<Polled> Look() {
    const bool begins = !begun_;
    if (begins) {
      begun_ = true;
      owner_.ShowProgress(call_, true);
      span_.emplace(owner_.tracer_, owner_.stream().name().c_str(), what_);
      ASSIGN_OR_RETURN(work_, begin_(call_));
    }
    if (!work_) return Polled::kDone;
    ASSIGN_OR_RETURN(const Polled polled, work_());
    return begins && polled == Polled::kWaiting ? Polled::kProgress : polled;
  }
  void End() {
    if (!span_.has_value()) return;
    span_.reset();
    owner_.ShowProgress(call_, false);
  }

  OrderedCommunicator& owner_;
  const std::string what_;
  const CommCall call_;
  Begin begin_;      // also holds what the work refers to
  PolledWork work_;  // before that it goes
  bool begun_ = false;
  std::optional<ScopedSpan> span_;  // from the beginning to the end
};

void OrderedCommunicator::Order(std::string_view op, std::string what, Begin begin) {
  stream().RunPolled(
      [flight = std::make_shared<Flight>(*this, op, std::move(what), ++issued_, std::move(begin))] {
        return flight->Poll();
      });
}

void OrderedCommunicator::ShowProgress(const CommCall& call, bool running) {
  std::lock_guard lock(mutex_);
  progress_ = {call.sequence, std::string(call.op), std::string(call.what), running, Tracer::Now()};
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
          return BeginAllGather(call, segments);
        });
}

void OrderedCommunicator::ReduceScatter(std::vector<ReduceSegment> segments, std::string what) {
  for (const ReduceSegment& s : segments) CHECK_EQ(static_cast<int>(s.offsets.size()), size_ + 1);
  Count(&CommBytes::reduce_scatter, SentByReduceScatter(segments, rank_));
  Order("reduce-scatter", std::move(what),
        [this, segments = std::move(segments)](const CommCall& call) {
          return BeginReduceScatter(call, segments);
        });
}

void OrderedCommunicator::Broadcast(void* data, int64_t bytes, int root, std::string what) {
  CHECK_LE(0, root);
  CHECK_LT(root, size_);
  Count(&CommBytes::broadcast, rank_ == root ? bytes * (size_ - 1) : 0);
  Order("broadcast", std::move(what), [this, data, bytes, root](const CommCall& call) {
    return BeginBroadcast(call, data, bytes, root);
  });
}

void OrderedCommunicator::Exchange(std::vector<PeerSend> sends, std::vector<PeerRecv> recvs,
                                   std::string what) {
  Count(&CommBytes::exchange, SentByExchange(sends, rank_));
  Order("exchange", std::move(what),
        [this, lists = ExchangeLists{std::move(sends), std::move(recvs)}](const CommCall& call) {
          return BeginExchange(call, lists);
        });
}

void OrderedCommunicator::Barrier(std::string what) {
  Count(&CommBytes::exchange, 0);
  Order("barrier", std::move(what), [this](const CommCall& call) { return BeginBarrier(call); });
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
