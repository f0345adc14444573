#include "dist/local/local_communicator.h"

#include <algorithm>
#include <cstring>
#include <thread>

#include "core/base/check.h"
#include "core/base/status.h"

namespace blockstep {

std::vector<std::unique_ptr<Communicator>> LocalGroup::CreateOn(const char* stream, int ranks,
                                                                const LocalOptions& options) {
  CHECK_GE(ranks, 1);
  CHECK(options.tracers.empty() || static_cast<int>(options.tracers.size()) == ranks);
  auto meet = std::make_shared<LocalRendezvous>(ranks, options.timeout);
  std::vector<std::unique_ptr<Communicator>> group;
  for (int r = 0; r < ranks; ++r) {
    Tracer* tracer = options.tracers.empty() ? nullptr : options.tracers[r];
    std::unique_ptr<LocalCommunicator> c(
        new LocalCommunicator(r, ranks, meet, tracer, options.call_sleep));
    c->own_stream_ = std::make_unique<FifoStream>(
        stream, &c->pool_,
        FifoOptions{.max_delay_us = options.max_delay_us,
                    .seed = options.delay_seed + static_cast<uint64_t>(r)});
    c->stream_ = c->own_stream_.get();
    group.push_back(std::move(c));
  }
  return group;
}

std::vector<std::unique_ptr<Communicator>> LocalGroup::Create(int ranks, LocalOptions options) {
  return CreateOn("comm", ranks, options);
}

std::vector<LocalPair> LocalGroup::CreatePairs(int ranks, LocalOptions options) {
  auto data = CreateOn("comm", ranks, options);
  options.delay_seed += static_cast<uint64_t>(ranks);  // so that the two are late at other times
  auto control = CreateOn("control", ranks, options);
  std::vector<LocalPair> pairs;
  for (int r = 0; r < ranks; ++r) pairs.push_back({std::move(control[r]), std::move(data[r])});
  return pairs;
}

LocalCommunicator::LocalCommunicator(int rank, int size, std::shared_ptr<LocalRendezvous> meet,
                                     Tracer* tracer, std::chrono::microseconds call_sleep)
    : OrderedCommunicator(rank, size, tracer), meet_(std::move(meet)), call_sleep_(call_sleep) {}

absl::StatusOr<PolledWork> LocalCommunicator::Together(const CommCall& call, LocalPost post,
                                                       const std::function<void()>& move) {
  post.op = call.op;
  post.what = call.what;
  post.sequence = call.sequence;
  RETURN_IF_ERROR(meet_->Arrive(rank(), std::move(post)));
  if (call_sleep_.count() > 0) std::this_thread::sleep_for(call_sleep_);
  move();
  RETURN_IF_ERROR(meet_->Leave(rank()));
  return PolledWork();
}

absl::StatusOr<PolledWork> LocalCommunicator::BeginAllGather(
    const CommCall& call, const std::vector<GatherSegment>& segments) {
  LocalPost post{.gather = &segments};
  for (const GatherSegment& s : segments) {
    post.sizes.insert(post.sizes.end(), s.offsets.begin(), s.offsets.end());
  }
  return Together(call, std::move(post), [&] {
    for (int peer = 0; peer < size(); ++peer) {
      if (peer == rank()) continue;
      const std::vector<GatherSegment>& theirs = *meet_->post(peer).gather;
      for (size_t i = 0; i < segments.size(); ++i) {
        const int64_t begin = segments[i].offsets[peer];
        const int64_t bytes = segments[i].offsets[peer + 1] - begin;
        if (bytes == 0) continue;
        std::memcpy(static_cast<char*>(segments[i].base) + begin,
                    static_cast<const char*>(theirs[i].base) + begin, bytes);
      }
    }
  });
}

absl::StatusOr<PolledWork> LocalCommunicator::BeginReduceScatter(
    const CommCall& call, const std::vector<ReduceSegment>& segments) {
  LocalPost post{.reduce = &segments};
  for (const ReduceSegment& s : segments) {
    post.sizes.insert(post.sizes.end(), s.offsets.begin(), s.offsets.end());
  }
  return Together(call, std::move(post), [&] {
    std::vector<const float*> parts(size());
    for (size_t i = 0; i < segments.size(); ++i) {
      const int64_t begin = segments[i].offsets[rank()];
      const int64_t count = segments[i].offsets[rank() + 1] - begin;
      if (count == 0) continue;
      for (int peer = 0; peer < size(); ++peer) {
        parts[peer] = (*meet_->post(peer).reduce)[i].in + begin;
      }
      SumInRankOrder(parts, count, segments[i].out);
    }
  });
}

absl::StatusOr<PolledWork> LocalCommunicator::BeginBroadcast(const CommCall& call, void* data,
                                                             int64_t bytes, int root) {
  return Together(call, {.sizes = {bytes, root}, .data = data}, [&] {
    if (rank() != root && bytes > 0) std::memcpy(data, meet_->post(root).data, bytes);
  });
}

absl::StatusOr<PolledWork> LocalCommunicator::BeginExchange(const CommCall& call,
                                                            const ExchangeLists& lists) {
  return Together(call, {.lists = &lists}, [&] {
    std::vector<size_t> next(size(), 0);  // per sender: position in its list
    for (const PeerRecv& r : lists.recvs) {
      const std::vector<PeerSend>& sends = meet_->post(r.peer).lists->sends;
      size_t& at = next[r.peer];
      while (sends[at].peer != rank()) ++at;
      if (r.bytes > 0) std::memcpy(r.data, sends[at].data, r.bytes);
      ++at;
    }
  });
}

absl::StatusOr<PolledWork> LocalCommunicator::BeginBarrier(const CommCall& call) {
  return Together(call, {}, [] {});
}

absl::StatusOr<std::unique_ptr<Communicator>> LocalCommunicator::Split(
    const std::vector<int>& colors) {
  const SplitPart part = SplitPart::Of(colors, rank());
  std::unique_ptr<LocalCommunicator> child(new LocalCommunicator(
      part.rank, part.size, meet_->SubGroup(splits_++, colors[rank()], part.size), tracer(),
      call_sleep_));
  child->stream_ = stream_;
  return std::unique_ptr<Communicator>(std::move(child));
}

absl::StatusOr<void*> LocalCommunicator::AllocateBuffer(int64_t bytes) {
  buffers_.emplace_back(bytes);
  return buffers_.back().data();
}

}  // namespace blockstep
