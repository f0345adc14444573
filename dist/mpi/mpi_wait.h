// Bounded, patient waiting for MPI requests, and MPI's errors as Status. Only on the comm thread.
#pragma once

#include <mpi.h>

#include <chrono>
#include <vector>

#include "absl/status/status.h"
#include "dist/ordered_communicator.h"

namespace blockstep {

// OK for MPI_SUCCESS; else INTERNAL with MPI's text, the call and the rank.
absl::Status MpiStatus(int code, const CommCall& call, int rank);

// Requests of one call, waited for together.
class MpiRequests {
 public:
  MpiRequests(const CommCall& call, int rank, std::chrono::milliseconds timeout)
      : call_(call), rank_(rank), timeout_(timeout) {}

  // Messages of at most `max_message` bytes each; split alike on both sides.
  absl::Status Send(const void* data, int64_t bytes, int peer, int tag, MPI_Comm comm,
                    int64_t max_message);
  absl::Status Receive(void* data, int64_t bytes, int peer, int tag, MPI_Comm comm,
                       int64_t max_message);
  // Takes over a request of a non-blocking collective; `code` is what starting it returned.
  absl::Status Add(int code, MPI_Request request);

  // Returns when all are complete. DEADLINE_EXCEEDED names the peers that are waited for; a message
  // of another size than expected is INTERNAL. After a failure the memory may still be written.
  absl::Status WaitAll();

 private:
  struct Expected {
    int peer = -1;       // -1: a collective
    int64_t bytes = -1;  // to receive; -1: a send
  };
  absl::Status Completed(int index, const MPI_Status& status);
  absl::Status TimedOut() const;

  const CommCall& call_;
  const int rank_;
  const std::chrono::milliseconds timeout_;
  std::vector<MPI_Request> requests_;
  std::vector<Expected> expected_;
};

}  // namespace blockstep
