// One MPI communicator; see dist/mpi/mpi_runtime.h for how data moves. Calls of different sequence
// numbers or kinds have different tags: ranks that disagree time out by name instead of mixing
// data.
#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "dist/mpi/mpi_wait.h"
#include "dist/ordered_communicator.h"

namespace blockstep {

// What the communicators of a process share; lives as long as the runtime.
struct MpiProcess {
  HostStream* stream = nullptr;
  std::chrono::milliseconds timeout{};
  int64_t max_message_bytes = 0;
  Tracer* tracer = nullptr;
  bool finalized = false;  // read and written on the comm thread
};

class MpiCommunicator : public OrderedCommunicator {
 public:
  // Takes `comm` over and frees it unless it is MPI_COMM_WORLD.
  MpiCommunicator(std::shared_ptr<MpiProcess> process, MPI_Comm comm, int rank, int size);
  ~MpiCommunicator() override;

  HostStream& stream() override { return *process_->stream; }
  absl::StatusOr<std::unique_ptr<Communicator>> Split(const std::vector<int>& colors) override;
  absl::StatusOr<void*> AllocateBuffer(int64_t bytes) override;

 protected:
  absl::Status DoAllGather(const CommCall& call,
                           const std::vector<GatherSegment>& segments) override;
  absl::Status DoReduceScatter(const CommCall& call,
                               const std::vector<ReduceSegment>& segments) override;
  absl::Status DoBroadcast(const CommCall& call, void* data, int64_t bytes, int root) override;
  absl::Status DoExchange(const CommCall& call, const ExchangeLists& lists) override;
  absl::Status DoBarrier(const CommCall& call) override;

 private:
  // Part of a segment of which each rank gets a like-numbered piece; see mpi_reduce_scatter.cc.
  struct Piece {
    const ReduceSegment* segment = nullptr;
    int64_t first = 0;  // element inside each rank's part
  };
  std::vector<Piece> PiecesOf(const std::vector<ReduceSegment>& segments) const;
  int64_t PieceElements(const Piece& piece, int rank) const;
  absl::Status Post(const Piece& piece, int slot, int tag, MpiRequests& requests);
  void Add(const Piece& piece, int slot) const;

  MpiRequests NewRequests(const CommCall& call) const {
    return MpiRequests(call, rank(), process_->timeout);
  }

  std::shared_ptr<MpiProcess> process_;
  MPI_Comm comm_;
  std::vector<void*> buffers_;
  std::vector<float> slots_;  // received pieces: [slot][peer][element]
};

}  // namespace blockstep
