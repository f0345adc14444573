#include "dist/local/rendezvous.h"

#include <algorithm>

#include "core/base/status.h"

namespace blockstep {
namespace {

std::string Describe(const LocalPost& post) {
  if (post.sequence == 0) return "nothing yet";
  std::string sizes;
  for (size_t i = 0; i < post.sizes.size() && i < 8; ++i) {
    sizes += Cat(i == 0 ? "" : " ", post.sizes[i]);
  }
  if (post.sizes.size() > 8) sizes += " ...";
  return Cat(post.op, " \"", post.what, "\" (call ", post.sequence, ", sizes ", sizes, ")");
}

}  // namespace

LocalRendezvous::LocalRendezvous(int ranks, std::chrono::milliseconds timeout)
    : ranks_(ranks), timeout_(timeout), posts_(ranks), meetings_(ranks, 0) {}

absl::Status LocalRendezvous::Arrive(int rank, LocalPost post) {
  std::unique_lock lock(mutex_);
  posts_[rank] = std::move(post);
  return Meet(rank, lock);
}

absl::Status LocalRendezvous::Leave(int rank) {
  std::unique_lock lock(mutex_);
  return Meet(rank, lock);
}

absl::Status LocalRendezvous::Meet(int rank, std::unique_lock<std::mutex>& lock) {
  const int64_t mine = meetings_[rank] + 1;
  if (Broken(mine)) return broken_;
  meetings_[rank] = mine;
  if (*std::min_element(meetings_.begin(), meetings_.end()) == mine) {
    complete_ = mine;
    const bool arrival = mine % 2 == 1;
    if (arrival) Break(Compare(), mine);
    changed_.notify_all();
    return Broken(mine) ? broken_ : absl::OkStatus();
  }
  const bool met =
      changed_.wait_for(lock, timeout_, [&] { return complete_ >= mine || Broken(mine); });
  if (!met) {
    Break(WithFacts(DeadlineExceeded("rank ", rank, " of ", ranks_, ": ", Describe(posts_[rank]),
                                     " timed out after ", timeout_.count(), " ms waiting for ",
                                     Missing(rank)),
                    {.rank = rank}),
          mine);
    changed_.notify_all();
  }
  return Broken(mine) ? broken_ : absl::OkStatus();
}

void LocalRendezvous::Break(absl::Status why, int64_t meeting) {
  if (why.ok() || Broken(meeting)) return;
  broken_ = std::move(why);
  broken_at_ = meeting;
}

// What broke in a later meeting does not undo this one.
bool LocalRendezvous::Broken(int64_t meeting) const {
  return !broken_.ok() && broken_at_ <= meeting;
}

void LocalRendezvous::Abandon(int rank, const absl::Status& why) {
  std::lock_guard lock(mutex_);
  Break(why, meetings_[rank] + 1);
  changed_.notify_all();
  for (const std::weak_ptr<LocalRendezvous>& part : parts_) {
    if (const auto alive = part.lock()) alive->AbandonAll(why);
  }
}

void LocalRendezvous::AbandonAll(const absl::Status& why) {
  std::lock_guard lock(mutex_);
  Break(why, *std::min_element(meetings_.begin(), meetings_.end()) + 1);
  changed_.notify_all();
}

std::string LocalRendezvous::Missing(int rank) const {
  std::string text;
  for (int r = 0; r < ranks_; ++r) {
    if (meetings_[r] >= meetings_[rank]) continue;
    text += Cat(text.empty() ? "" : "; ", "rank ", r, ", last in ", Describe(posts_[r]));
  }
  return text;
}

absl::Status LocalRendezvous::Compare() const {
  const LocalPost& first = posts_[0];
  for (int r = 1; r < ranks_; ++r) {
    const LocalPost& post = posts_[r];
    if (post.op == first.op && post.what == first.what && post.sizes == first.sizes) continue;
    return FailedPrecondition("ranks disagree: rank 0 is in ", Describe(first), ", rank ", r,
                              " in ", Describe(post));
  }
  return first.lists == nullptr ? absl::OkStatus() : CompareExchange();
}

absl::Status LocalRendezvous::CompareExchange() const {
  for (int s = 0; s < ranks_; ++s) {
    for (int r = 0; r < ranks_; ++r) {
      std::vector<int64_t> sent, wanted;
      for (const PeerSend& x : posts_[s].lists->sends) {
        if (x.peer == r) sent.push_back(x.bytes);
      }
      for (const PeerRecv& x : posts_[r].lists->recvs) {
        if (x.peer == s) wanted.push_back(x.bytes);
      }
      if (sent == wanted) continue;
      LocalPost a = posts_[s], b = posts_[r];
      a.sizes = sent;
      b.sizes = wanted;
      return FailedPrecondition("ranks disagree: rank ", s, " sends to rank ", r, " in ",
                                Describe(a), ", which receives in ", Describe(b));
    }
  }
  return absl::OkStatus();
}

std::shared_ptr<LocalRendezvous> LocalRendezvous::SubGroup(int64_t split, int color, int ranks) {
  std::lock_guard lock(mutex_);
  Sub& sub = subs_[{split, color}];
  if (sub.group == nullptr) {
    sub = {std::make_shared<LocalRendezvous>(ranks, timeout_), ranks};
    parts_.push_back(sub.group);
  }
  std::shared_ptr<LocalRendezvous> group = sub.group;
  if (--sub.waiting == 0) subs_.erase({split, color});
  return group;
}

}  // namespace blockstep
