// What all communicators share: calls are counted, numbered and handed to the stream in program
// order; in its turn each leaves a progress record and a trace span, is begun by the Begin... of
// its kind, and polled to its end.
#pragma once

#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/trace.h"
#include "core/device/host_stream.h"
#include "dist/communicator.h"

namespace blockstep {

// One call as its implementation sees it. `what` lives as long as the call.
struct CommCall {
  std::string_view op;  // "all-gather"
  std::string_view what;
  int64_t sequence = 0;      // of this communicator, from 1
  std::string Text() const;  // all-gather "layer 3" (call 17)
};

// Bytes each call sends by CommBytes' rules.
int64_t SentByAllGather(const std::vector<GatherSegment>& segments, int rank, int size);
int64_t SentByReduceScatter(const std::vector<ReduceSegment>& segments, int rank);
int64_t SentByExchange(const std::vector<PeerSend>& sends, int rank);

// The one order in which host communicators add what ranks contribute: ((r0 + r1) + r2) + ... per
// element, so that `local` and `mpi` give the same bits.
// out[i] = parts[0][i] + parts[1][i] + ...; `out` may be one of the parts.
inline void SumInRankOrder(const std::vector<const float*>& parts, int64_t n, float* out) {
  constexpr int64_t kBlock = 1024;  // stays in the first-level cache while all parts are added
  float sum[kBlock];
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t size = n - begin < kBlock ? n - begin : kBlock;
    for (int64_t i = 0; i < size; ++i) sum[i] = parts[0][begin + i];
    for (size_t p = 1; p < parts.size(); ++p) {
      for (int64_t i = 0; i < size; ++i) sum[i] += parts[p][begin + i];
    }
    for (int64_t i = 0; i < size; ++i) out[begin + i] = sum[i];
  }
}

class OrderedCommunicator : public Communicator {
 public:
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  HostStream& stream() override = 0;

  void AllGather(std::vector<GatherSegment> segments, std::string what) override;
  void ReduceScatter(std::vector<ReduceSegment> segments, std::string what) override;
  void Broadcast(void* data, int64_t bytes, int root, std::string what) override;
  void Exchange(std::vector<PeerSend> sends, std::vector<PeerRecv> recvs,
                std::string what) override;
  void Barrier(std::string what) override;

  CommBytes bytes_sent() const override;
  CommProgress progress() const override;

 protected:
  OrderedCommunicator(int rank, int size, Tracer* tracer)
      : rank_(rank), size_(size), tracer_(tracer) {}
  Tracer* tracer() const { return tracer_; }

  // Each begins a call whose turn has come and gives the work in flight, done when this rank's part
  // is complete; an empty one: it is complete already. `call` and the lists live as long as that
  // work. May block only where the stream has a thread to itself. A failure ends the stream's work.
  virtual absl::StatusOr<PolledWork> BeginAllGather(const CommCall& call,
                                                    const std::vector<GatherSegment>& segments) = 0;
  virtual absl::StatusOr<PolledWork> BeginReduceScatter(
      const CommCall& call, const std::vector<ReduceSegment>& segments) = 0;
  virtual absl::StatusOr<PolledWork> BeginBroadcast(const CommCall& call, void* data, int64_t bytes,
                                                    int root) = 0;
  virtual absl::StatusOr<PolledWork> BeginExchange(const CommCall& call,
                                                   const ExchangeLists& lists) = 0;
  virtual absl::StatusOr<PolledWork> BeginBarrier(const CommCall& call) = 0;

 private:
  using Begin = std::function<absl::StatusOr<PolledWork>(const CommCall&)>;
  class Flight;
  void Order(std::string_view op, std::string what, Begin begin);
  void ShowProgress(const CommCall& call, bool running);
  void Count(int64_t CommBytes::*kind, int64_t bytes);

  const int rank_, size_;
  Tracer* const tracer_;
  int64_t issued_ = 0;
  mutable std::mutex mutex_;
  CommBytes bytes_;
  CommProgress progress_;
};

}  // namespace blockstep
