// A communicator that moves nothing and counts everything: for the memory plan on the null backend,
// and for byte counts of grids larger than the machine. Every call "succeeds" at once.
#pragma once

#include "core/device/host_stream.h"
#include "dist/ordered_communicator.h"

namespace blockstep {

class NullCommunicator : public OrderedCommunicator {
 public:
  NullCommunicator(int size, int rank)
      : OrderedCommunicator(rank, size, nullptr), pool_(1), stream_("comm", &pool_) {}

  HostStream& stream() override { return stream_; }
  // One group of all ranks, whatever the colors of the others would be.
  absl::StatusOr<std::unique_ptr<Communicator>> Split(int color, int key) override;
  absl::StatusOr<void*> AllocateBuffer(int64_t bytes) override;
  // Every rank says what this one says.
  absl::Status HostAllGather(const void* mine, int64_t bytes, void* out, std::string what) override;

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
  ThreadPool pool_;
  InlineStream stream_;
};

}  // namespace blockstep
