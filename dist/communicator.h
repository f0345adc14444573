// Collectives of one group of ranks. Every call is ordered on stream(), in the engine thread's
// program order, and returns at once; failures are sticky in status(). A caller orders
// other streams with Events: comm.stream().Wait(compute.Record()) before,
// compute.Wait(comm.stream().Record()) after. A group has two (RankGroup): one for messages between
// host memories, one for what the arena holds. One conformance suite
// (tests/dist/communicator_suite.h) holds for every implementation.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/device/stream.h"

namespace blockstep {

// All-gather in place: rank r contributes bytes [offsets[r], offsets[r+1]) of `base`; afterwards
// every rank has [offsets[0], offsets[N]). Parts may be empty.
struct GatherSegment {
  void* base = nullptr;
  std::vector<int64_t> offsets;  // N + 1, bytes, ascending
};

// Reduce-scatter of fp32: out (own part) = sum over ranks of in[offsets[rank] .. offsets[rank+1]).
// `out` may be in + offsets[rank]; `in` is left undefined.
struct ReduceSegment {
  float* in = nullptr;
  float* out = nullptr;
  std::vector<int64_t> offsets;  // N + 1, elements, ascending
};

struct PeerSend {
  int peer = 0;
  const void* data = nullptr;
  int64_t bytes = 0;
};
struct PeerRecv {
  int peer = 0;
  void* data = nullptr;
  int64_t bytes = 0;
};

struct ExchangeLists {
  std::vector<PeerSend> sends;
  std::vector<PeerRecv> recvs;
};

// Bytes this rank has sent, by an algorithm-neutral count: what must leave it at least.
//   AllGather (N-1) * own part; ReduceScatter everything but the own part; Exchange the payload to
//   other ranks; Broadcast (N-1) * bytes at the root; Barrier 0.
struct CommBytes {
  int64_t all_gather = 0, reduce_scatter = 0, exchange = 0, broadcast = 0;
  int64_t calls = 0;
  int64_t total() const { return all_gather + reduce_scatter + exchange + broadcast; }
  CommBytes& operator+=(const CommBytes& more);
};

// Of one color: how many ranks, and the place of `rank` among them.
struct SplitPart {
  int rank = 0, size = 0;
  static SplitPart Of(const std::vector<int>& colors, int rank);
};

// What a rank's communication is doing, for whoever watches it from another thread.
struct CommProgress {
  int64_t sequence = 0;  // of the last call that began; 0: none yet
  std::string op;        // "all-gather"
  std::string what;      // as given by the caller
  bool running = false;  // false: it has ended
  int64_t since_ns = 0;  // Tracer::Now() when it began or ended
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual Stream& stream() = 0;
  // The first failure of a call. Events on stream() still fire after it.
  virtual absl::Status status() { return stream().status(); }
  // Blocks the caller until every call has ended; status().
  absl::Status Synchronize();

  // Steps and bytes per rank: see each implementation's header. `what` names the call in traces and
  // errors ("gather layer 3"). Segments are copied; memory must stay valid until an event after.
  virtual void AllGather(std::vector<GatherSegment> segments, std::string what) = 0;
  virtual void ReduceScatter(std::vector<ReduceSegment> segments, std::string what) = 0;
  virtual void Broadcast(void* data, int64_t bytes, int root, std::string what) = 0;
  // Batched point-to-point: pairs match in order per (sender, receiver); messages to itself are
  // copies. Every rank calls it, with empty lists where it has nothing to send or receive.
  virtual void Exchange(std::vector<PeerSend> sends, std::vector<PeerRecv> recvs,
                        std::string what) = 0;
  virtual void Barrier(std::string what) = 0;

  // The ranks with this rank's color, in their order. `colors` has one per rank and is the same on
  // every rank. Collective; host-blocking. The new group shares this one's stream and must not
  // outlive it.
  virtual absl::StatusOr<std::unique_ptr<Communicator>> Split(const std::vector<int>& colors) = 0;

  // Memory to send from and receive into; valid as long as the communicator.
  virtual absl::StatusOr<void*> AllocateBuffer(int64_t bytes) = 0;

  // This rank failed and takes part in no further call: where ranks are threads, the others' calls
  // that need it fail with `why` at once. With MPI, the process exit tells the others.
  virtual void Abandon(const absl::Status& why) { (void)why; }

  virtual CommBytes bytes_sent() const = 0;
  virtual CommProgress progress() const = 0;

  // Host-blocking all-gather of `bytes` from each rank into out (N * bytes). Host memory only.
  absl::Status HostAllGather(const void* mine, int64_t bytes, void* out, std::string what);
};

// An all-gather of host memory that is finished later than it is begun.
class HostGather {
 public:
  // Begins it; `mine` is copied. Every rank gives as many bytes.
  HostGather(Communicator& control, const void* mine, int64_t bytes, std::string what);
  // It must not go before it has come to its end.
  ~HostGather() { done_.Block(); }
  HostGather(HostGather&& other) noexcept = default;
  HostGather& operator=(HostGather&& other) = delete;

  // Waits for it. What the ranks gave, in their order: N * bytes.
  absl::StatusOr<std::span<const char>> Finish();

 private:
  Communicator& control_;
  std::vector<char> all_;
  Event done_;
};

// The two communicators of a group of ranks, as one rank has them; not owned. Each has an order of
// its own, so either gets on while the other waits for a peer or for compute. Of calls that block
// the host (Split), the two together have one order on all ranks.
struct RankGroup {
  // Between host memories, small: agreements, what a step exchanges, lists of rows. Never queues
  // behind `data`.
  Communicator* control = nullptr;
  // Between device memories: what the arena holds. The host touches none of it.
  Communicator* data = nullptr;

  int rank() const { return control->rank(); }
  int size() const { return control->size(); }
  friend bool operator==(const RankGroup&, const RankGroup&) = default;
  CommBytes bytes_sent() const;
  // Of the call that has been running longest; if none is, of the one that ended last. `sequence`
  // is how many calls of both have begun: a rank whose number is lower is behind.
  CommProgress progress() const;
  // This rank takes part in no further call of either.
  void Abandon(const absl::Status& why) const;
};

}  // namespace blockstep
