// Requests of MPI in flight, looked at with a bound on the wait, and MPI's errors as Status. Only
// on the MPI thread.
#pragma once

#include <mpi.h>

#include <chrono>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "dist/ordered_communicator.h"

namespace blockstep {

// OK for MPI_SUCCESS; else INTERNAL with MPI's text, the call and the rank.
absl::Status MpiStatus(int code, const CommCall& call, int rank);

// What the messages of one communicator share.
struct MpiChannel {
  MPI_Comm comm = MPI_COMM_NULL;
  int rank = 0;
  int size = 1;
  std::chrono::milliseconds timeout{};  // for each wait
  int64_t max_message_bytes = 0;        // longer ones are cut, alike on both sides
};

// Requests of one call that are complete together. `call` and `channel` outlive them.
class MpiRequests {
 public:
  MpiRequests(const CommCall& call, const MpiChannel& channel) : call_(call), channel_(channel) {}

  absl::Status Send(const void* data, int64_t bytes, int peer, int tag);
  absl::Status Receive(void* data, int64_t bytes, int peer, int tag);
  // Takes over a request of a non-blocking collective; `code` is what starting it returned.
  absl::Status Add(int code, MPI_Request request);

  // Looks at all, which must be under way; kDone when they are complete. The time for the wait runs
  // from the first look. DEADLINE_EXCEEDED names the peers that are waited for; a message of
  // another size than expected is INTERNAL. After a failure the memory may still be written while
  // anybody calls MPI.
  absl::StatusOr<Polled> Poll();

 private:
  struct Expected {
    int peer = -1;       // -1: a collective
    int64_t bytes = -1;  // to receive; -1: a send
  };
  absl::Status Completed(int index, const MPI_Status& status);
  absl::Status TimedOut() const;

  const CommCall& call_;
  const MpiChannel& channel_;
  std::vector<MPI_Request> requests_;
  std::vector<Expected> expected_;
  // From the first look on.
  std::optional<std::chrono::steady_clock::time_point> deadline_;
  int left_ = 0;
  std::vector<int> indices_;
  std::vector<MPI_Status> statuses_;
};

}  // namespace blockstep
