// Where the ranks of one local group meet: a barrier that compares what everybody is about to do,
// with a bound on every wait. Once it has failed, every later call fails with the same Status.
#pragma once

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "dist/ordered_communicator.h"

namespace blockstep {

// What a rank shows the others while a call runs; pointers into its own call.
struct LocalPost {
  std::string op, what;
  int64_t sequence = 0;
  std::vector<int64_t> sizes;  // equal on all ranks, or the call is refused
  const std::vector<GatherSegment>* gather = nullptr;
  const std::vector<ReduceSegment>* reduce = nullptr;
  const ExchangeLists* lists = nullptr;
  void* data = nullptr;
};

class LocalRendezvous {
 public:
  LocalRendezvous(int ranks, std::chrono::milliseconds timeout);

  // Returns when every rank has arrived with an equal op, what and sizes; then post(r) may be read
  // until Leave. DEADLINE_EXCEEDED names who is missing and what it did last.
  absl::Status Arrive(int rank, LocalPost post);
  // Returns when every rank has stopped reading the others' memory.
  absl::Status Leave(int rank);
  // `rank` comes no more: every wait for it fails, now and later, in the parts of a split too.
  void Abandon(int rank, const absl::Status& why);
  const LocalPost& post(int rank) const { return posts_[rank]; }

  // The group that all ranks of `color` get from their `split`-th Split: the first one makes it.
  std::shared_ptr<LocalRendezvous> SubGroup(int64_t split, int color, int ranks);

 private:
  void AbandonAll(const absl::Status& why);
  absl::Status Meet(int rank, std::unique_lock<std::mutex>& lock);
  void Break(absl::Status why, int64_t meeting);
  bool Broken(int64_t meeting) const;
  absl::Status Compare() const;
  absl::Status CompareExchange() const;
  std::string Missing(int rank) const;

  const int ranks_;
  const std::chrono::milliseconds timeout_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<LocalPost> posts_;
  std::vector<int64_t> meetings_;  // per rank: barriers entered so far; two per call
  int64_t complete_ = 0;           // barriers that everyone entered
  absl::Status broken_;
  int64_t broken_at_ = 0;  // the first meeting that does not take place
  struct Sub {
    std::shared_ptr<LocalRendezvous> group;
    int waiting = 0;  // ranks that have not fetched it
  };
  std::map<std::pair<int64_t, int>, Sub> subs_;
  std::vector<std::weak_ptr<LocalRendezvous>> parts_;  // every one that a split made
};

}  // namespace blockstep
