// A communicator that moves nothing and counts everything: for the memory plan on the null backend,
// and for byte counts of grids larger than the machine. Every call "succeeds" at once.
#pragma once

#include "core/device/host_stream.h"
#include "dist/ordered_communicator.h"

namespace blockstep {

class NullCommunicator : public OrderedCommunicator {
 public:
  // What it moves: nothing, for `data` of a backend without memory; for `control`, what ranks tell
  // each other by AllGather: every rank says what this one says.
  enum class Peers : uint8_t { kSilent, kLikeThisOne };

  NullCommunicator(int size, int rank, Peers peers = Peers::kSilent)
      : OrderedCommunicator(rank, size, nullptr),
        peers_(peers),
        pool_(1),
        stream_("comm", &pool_) {}

  HostStream& stream() override { return stream_; }
  absl::StatusOr<std::unique_ptr<Communicator>> Split(const std::vector<int>& colors) override;
  absl::StatusOr<void*> AllocateBuffer(int64_t bytes) override;

 protected:
  absl::StatusOr<PolledWork> BeginAllGather(const CommCall& call,
                                            const std::vector<GatherSegment>& segments) override;
  absl::StatusOr<PolledWork> BeginReduceScatter(
      const CommCall& call, const std::vector<ReduceSegment>& segments) override;
  absl::StatusOr<PolledWork> BeginBroadcast(const CommCall& call, void* data, int64_t bytes,
                                            int root) override;
  absl::StatusOr<PolledWork> BeginExchange(const CommCall& call,
                                           const ExchangeLists& lists) override;
  absl::StatusOr<PolledWork> BeginBarrier(const CommCall& call) override;

 private:
  const Peers peers_;
  ThreadPool pool_;
  InlineStream stream_;
};

// Both communicators of one rank.
class NullGroup {
 public:
  NullGroup(int size, int rank)
      : control_(size, rank, NullCommunicator::Peers::kLikeThisOne), data_(size, rank) {}
  RankGroup group() const { return {.control = &control_, .data = &data_}; }

 private:
  mutable NullCommunicator control_, data_;
};

}  // namespace blockstep
