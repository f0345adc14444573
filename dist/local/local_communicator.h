// Ranks as threads of one process: data moves by memcpy out of the peers' memory between two
// barriers. Steps per call: 1 (every rank reads what it needs from all others). Bytes per rank:
// those of CommBytes. ReduceScatter adds in rank order. What ranks ask for is compared: a call that
// differs in kind, name or sizes fails on all ranks (FAILED_PRECONDITION, both named); a rank that
// does not come within the timeout fails all others (DEADLINE_EXCEEDED). Each communicator has a
// thread, which waits for the peers: neither of a pair waits for the other.
#pragma once

#include <chrono>
#include <list>
#include <memory>
#include <vector>

#include "core/device/fifo_stream.h"
#include "dist/local/rendezvous.h"
#include "dist/ordered_communicator.h"

namespace blockstep {

struct LocalOptions {
  std::chrono::milliseconds timeout{60'000};  // for a rank that does not come
  int max_delay_us = 0;  // random delay before each piece of comm work: finds missing waits
  uint64_t delay_seed = 0;
  std::chrono::microseconds call_sleep{0};  // each call takes at least this: overlap in traces
  std::vector<Tracer*> tracers;             // (optional) one per rank
};

class LocalCommunicator : public OrderedCommunicator {
 public:
  HostStream& stream() override { return *stream_; }
  absl::StatusOr<std::unique_ptr<Communicator>> Split(const std::vector<int>& colors) override;
  absl::StatusOr<void*> AllocateBuffer(int64_t bytes) override;
  void Abandon(const absl::Status& why) override { meet_->Abandon(rank(), why); }

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
  friend class LocalGroup;
  LocalCommunicator(int rank, int size, std::shared_ptr<LocalRendezvous> meet, Tracer* tracer,
                    std::chrono::microseconds call_sleep);
  // Arrive, `move` data, Leave.
  absl::StatusOr<PolledWork> Together(const CommCall& call, LocalPost post,
                                      const std::function<void()>& move);

  std::shared_ptr<LocalRendezvous> meet_;
  std::chrono::microseconds call_sleep_;
  int64_t splits_ = 0;
  std::list<std::vector<char>> buffers_;
  ThreadPool pool_{1};
  HostStream* stream_ = nullptr;            // own_stream_, or the parent's after a Split
  std::unique_ptr<FifoStream> own_stream_;  // last: its thread ends before what it uses goes
};

// The two communicators of one rank; see RankGroup.
struct LocalPair {
  std::unique_ptr<Communicator> control, data;
  RankGroup group() const { return {.control = control.get(), .data = data.get()}; }
};

class LocalGroup {
 public:
  // One communicator for each of `ranks` threads.
  static std::vector<std::unique_ptr<Communicator>> Create(int ranks, LocalOptions options = {});
  // Two for each.
  static std::vector<LocalPair> CreatePairs(int ranks, LocalOptions options = {});

 private:
  static std::vector<std::unique_ptr<Communicator>> CreateOn(const char* stream, int ranks,
                                                             const LocalOptions& options);
};

}  // namespace blockstep
