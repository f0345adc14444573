#include "dist/mpi/mpi_wait.h"

#include <algorithm>
#include <set>

#include "core/base/status.h"

namespace blockstep {

absl::Status MpiStatus(int code, const CommCall& call, int rank) {
  if (code == MPI_SUCCESS) return absl::OkStatus();
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  return OnRank(Internal(call.Text(), ": MPI: ", std::string(text, length)), {.rank = rank});
}

absl::Status MpiRequests::Send(const void* data, int64_t bytes, int peer, int tag) {
  for (int64_t at = 0; at < bytes; at += channel_.max_message_bytes) {
    const int count = static_cast<int>(std::min(channel_.max_message_bytes, bytes - at));
    MPI_Request request;
    RETURN_IF_ERROR(MpiStatus(MPI_Isend(static_cast<const char*>(data) + at, count, MPI_BYTE, peer,
                                        tag, channel_.comm, &request),
                              call_, channel_.rank));
    requests_.push_back(request);
    expected_.push_back({.peer = peer});
  }
  return absl::OkStatus();
}

absl::Status MpiRequests::Receive(void* data, int64_t bytes, int peer, int tag) {
  for (int64_t at = 0; at < bytes; at += channel_.max_message_bytes) {
    const int count = static_cast<int>(std::min(channel_.max_message_bytes, bytes - at));
    MPI_Request request;
    RETURN_IF_ERROR(MpiStatus(MPI_Irecv(static_cast<char*>(data) + at, count, MPI_BYTE, peer, tag,
                                        channel_.comm, &request),
                              call_, channel_.rank));
    requests_.push_back(request);
    expected_.push_back({.peer = peer, .bytes = count});
  }
  return absl::OkStatus();
}

absl::Status MpiRequests::Add(int code, MPI_Request request) {
  RETURN_IF_ERROR(MpiStatus(code, call_, channel_.rank));
  requests_.push_back(request);
  expected_.push_back({});
  return absl::OkStatus();
}

absl::Status MpiRequests::Completed(int index, const MPI_Status& status) {
  const Expected& e = expected_[index];
  RETURN_IF_ERROR(MpiStatus(status.MPI_ERROR, call_, channel_.rank));
  if (e.bytes < 0) return absl::OkStatus();
  int count = 0;
  MPI_Get_count(&status, MPI_BYTE, &count);
  if (count == e.bytes) return absl::OkStatus();
  return OnRank(
      Internal(call_.Text(), ": expected ", e.bytes, " bytes from rank ", e.peer, ", got ", count),
      {.rank = channel_.rank});
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
  return OnRank(DeadlineExceeded(call_.Text(), " timed out after ", channel_.timeout.count(),
                                 " ms waiting for ", who),
                {.rank = channel_.rank});
}

absl::StatusOr<Polled> MpiRequests::Poll() {
  const int total = static_cast<int>(requests_.size());
  if (!deadline_.has_value()) {
    deadline_ = std::chrono::steady_clock::now() + channel_.timeout;
    left_ = total;
    indices_.resize(total);
    statuses_.resize(total);
  }
  if (left_ == 0) return Polled::kDone;
  for (MPI_Status& s : statuses_) s.MPI_ERROR = MPI_SUCCESS;  // set by MPI only on errors
  int done = 0;
  const int code = MPI_Testsome(total, requests_.data(), &done, indices_.data(), statuses_.data());
  if (code != MPI_SUCCESS && code != MPI_ERR_IN_STATUS) {
    return MpiStatus(code, call_, channel_.rank);
  }
  for (int i = 0; i < done; ++i) RETURN_IF_ERROR(Completed(indices_[i], statuses_[i]));
  left_ -= done;
  if (left_ == 0) return Polled::kDone;
  if (done > 0) return Polled::kProgress;
  if (std::chrono::steady_clock::now() > *deadline_) return TimedOut();
  return Polled::kWaiting;
}

}  // namespace blockstep
