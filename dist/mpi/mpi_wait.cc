#include "dist/mpi/mpi_wait.h"

#include <sched.h>

#include <algorithm>
#include <set>
#include <thread>

#include "core/base/status.h"

namespace blockstep {
namespace {

// How long to look without sleeping, giving way to other threads each time; then sleeps double from
// the first to the last. A sleep costs about 50 us more than asked, whatever is asked.
constexpr int kYields = 64;
constexpr std::chrono::microseconds kFirstSleep{5}, kLastSleep{200};

class Patience {
 public:
  void Pause() {
    if (yields_ < kYields) {
      ++yields_;
      sched_yield();
      return;
    }
    std::this_thread::sleep_for(sleep_);
    sleep_ = std::min(2 * sleep_, kLastSleep);
  }

 private:
  int yields_ = 0;
  std::chrono::microseconds sleep_ = kFirstSleep;
};

}  // namespace

absl::Status MpiStatus(int code, const CommCall& call, int rank) {
  if (code == MPI_SUCCESS) return absl::OkStatus();
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  return OnRank(Internal(call.Text(), ": MPI: ", std::string(text, length)), {.rank = rank});
}

absl::Status MpiRequests::Send(const void* data, int64_t bytes, int peer, int tag, MPI_Comm comm,
                               int64_t max_message) {
  for (int64_t at = 0; at < bytes; at += max_message) {
    const int count = static_cast<int>(std::min(max_message, bytes - at));
    MPI_Request request;
    RETURN_IF_ERROR(MpiStatus(
        MPI_Isend(static_cast<const char*>(data) + at, count, MPI_BYTE, peer, tag, comm, &request),
        call_, rank_));
    requests_.push_back(request);
    expected_.push_back({.peer = peer});
  }
  return absl::OkStatus();
}

absl::Status MpiRequests::Receive(void* data, int64_t bytes, int peer, int tag, MPI_Comm comm,
                                  int64_t max_message) {
  for (int64_t at = 0; at < bytes; at += max_message) {
    const int count = static_cast<int>(std::min(max_message, bytes - at));
    MPI_Request request;
    RETURN_IF_ERROR(MpiStatus(
        MPI_Irecv(static_cast<char*>(data) + at, count, MPI_BYTE, peer, tag, comm, &request), call_,
        rank_));
    requests_.push_back(request);
    expected_.push_back({.peer = peer, .bytes = count});
  }
  return absl::OkStatus();
}

absl::Status MpiRequests::Add(int code, MPI_Request request) {
  RETURN_IF_ERROR(MpiStatus(code, call_, rank_));
  requests_.push_back(request);
  expected_.push_back({});
  return absl::OkStatus();
}

absl::Status MpiRequests::Completed(int index, const MPI_Status& status) {
  const Expected& e = expected_[index];
  RETURN_IF_ERROR(MpiStatus(status.MPI_ERROR, call_, rank_));
  if (e.bytes < 0) return absl::OkStatus();
  int count = 0;
  MPI_Get_count(&status, MPI_BYTE, &count);
  if (count == e.bytes) return absl::OkStatus();
  return OnRank(
      Internal(call_.Text(), ": expected ", e.bytes, " bytes from rank ", e.peer, ", got ", count),
      {.rank = rank_});
}

absl::Status MpiRequests::TimedOut() const {
  std::set<int> peers;
  for (size_t i = 0; i < requests_.size(); ++i) {
    if (requests_[i] != MPI_REQUEST_NULL) peers.insert(expected_[i].peer);
  }
  std::string who;
  for (const int p : peers) {
    who += Cat(who.empty() ? "" : ", ", p < 0 ? std::string("all ranks") : Cat("rank ", p));
  }
  return OnRank(DeadlineExceeded(call_.Text(), " timed out after ", timeout_.count(),
                                 " ms waiting for ", who),
                {.rank = rank_});
}

absl::Status MpiRequests::WaitAll() {
  const auto deadline = std::chrono::steady_clock::now() + timeout_;
  const int total = static_cast<int>(requests_.size());
  std::vector<int> indices(total);
  std::vector<MPI_Status> statuses(total);
  Patience patience;
  for (int left = total; left > 0;) {
    for (MPI_Status& s : statuses) s.MPI_ERROR = MPI_SUCCESS;  // set by MPI only on errors
    int done = 0;
    const int code = MPI_Testsome(total, requests_.data(), &done, indices.data(), statuses.data());
    if (code != MPI_SUCCESS && code != MPI_ERR_IN_STATUS) return MpiStatus(code, call_, rank_);
    for (int i = 0; i < done; ++i) RETURN_IF_ERROR(Completed(indices[i], statuses[i]));
    left -= done;
    if (done > 0) {
      patience = {};
    } else if (std::chrono::steady_clock::now() > deadline) {
      return TimedOut();
    } else {
      patience.Pause();
    }
  }
  requests_.clear();
  expected_.clear();
  return absl::OkStatus();
}

}  // namespace blockstep
