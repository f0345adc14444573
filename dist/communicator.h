// Collectives of one group of ranks. Every call is ordered on stream(), in the engine thread's
// program order, and returns at once; failures are sticky on stream().status(). A caller orders
// other streams with Events: comm.stream().Wait(compute.Record()) before,
// compute.Wait(comm.stream().Record()) after. One conformance suite
// (tests/dist/communicator_suite.h) holds for every implementation.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
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

  // Steps and bytes per rank: see each implementation's header. `what` names the call in traces and
  // errors ("gather layer 3"). Segments are copied; memory must stay valid until an event after.
  virtual void AllGather(std::vector<GatherSegment> segments, std::string what) = 0;
  virtual void ReduceScatter(std::vector<ReduceSegment> segments, std::string what) = 0;
  virtual void Broadcast(void* data, int64_t bytes, int root, std::string what) = 0;
  // Batched point-to-point: pairs match in order per (sender, receiver); messages to itself are
  // copies. Every rank calls it, with empty lists where it has nothing to send or receive.
  virtual void Exchange(std::vector<PeerSend> sends, std::vector<PeerRecv> recvs,
                        std::string what) = 0;
  // The same where sizes depend on data that earlier work on stream() brings: `lists` runs there,
  // when its turn has come. Its bytes are counted then.
  using MakeExchange = std::function<absl::StatusOr<ExchangeLists>()>;
  virtual void ExchangeDeferred(MakeExchange lists, std::string what) = 0;
  virtual void Barrier(std::string what) = 0;

  // A group of the ranks that pass the same color, ordered by (key, rank). Collective;
  // host-blocking. The new group shares this one's stream and must not outlive it.
  virtual absl::StatusOr<std::unique_ptr<Communicator>> Split(int color, int key) = 0;

  // Memory to send from and receive into; valid as long as the communicator.
  virtual absl::StatusOr<void*> AllocateBuffer(int64_t bytes) = 0;

  // This rank failed and takes part in no further call: where ranks are threads, the others' calls
  // that need it fail with `why` at once. With MPI, the process exit tells the others.
  virtual void Abandon(const absl::Status& why) { (void)why; }

  virtual CommBytes bytes_sent() const = 0;
  virtual CommProgress progress() const = 0;

  // Host-blocking all-gather of `bytes` from each rank into out (N * bytes): the small exchange.
  virtual absl::Status HostAllGather(const void* mine, int64_t bytes, void* out, std::string what) {
    GatherSegment segment{.base = out};
    for (int r = 0; r <= size(); ++r) segment.offsets.push_back(r * bytes);
    std::memcpy(static_cast<char*>(out) + rank() * bytes, mine, bytes);
    AllGather({segment}, std::move(what));
    return stream().Synchronize();
  }
};

// The two communicators of a group of ranks, as one rank has them; not owned. Each has an order of
// its own, so either gets on while the other waits for a peer or for compute. Of calls that block
// the host (Split), the two together have one order on all ranks.
struct RankGroup {
  // Small messages between host memory: agreements, what a step exchanges, lists of ids. Never
  // waits for data.
  Communicator* control = nullptr;
  // Moves what the arena holds.
  Communicator* data = nullptr;

  int rank() const { return data->rank(); }
  int size() const { return data->size(); }
  // This rank takes part in no further call of either.
  void Abandon(const absl::Status& why) const {
    control->Abandon(why);
    data->Abandon(why);
  }
};

}  // namespace blockstep
