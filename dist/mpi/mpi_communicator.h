// One MPI communicator on one lane of the MPI thread; see dist/mpi/mpi_runtime.h for how data
// moves. Calls of different sequence numbers or kinds have different tags: ranks that disagree time
// out by name instead of mixing data.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <vector>

#include "dist/mpi/mpi_wait.h"
#include "dist/ordered_communicator.h"

namespace blockstep {

// What the communicators of a process share; lives as long as the runtime.
struct MpiProcess {
  HostStream* control = nullptr;  // the lanes
  HostStream* data = nullptr;
  std::chrono::milliseconds timeout{};
  int64_t max_message_bytes = 0;
  Tracer* tracer = nullptr;
  bool finalized = false;  // read and written on the MPI thread
  std::mutex split;        // held by a Split
};

class MpiCommunicator : public OrderedCommunicator {
 public:
  // Takes `comm` over and frees it unless it is MPI_COMM_WORLD.
  MpiCommunicator(std::shared_ptr<MpiProcess> process, HostStream& lane, MPI_Comm comm, int rank,
                  int size);
  ~MpiCommunicator() override;

  HostStream& stream() override { return lane_; }
  absl::StatusOr<std::unique_ptr<Communicator>> Split(const std::vector<int>& colors) override;
  absl::StatusOr<void*> AllocateBuffer(int64_t bytes) override;

 protected:
  absl::StatusOr<PolledWork> BeginAllGather(const CommCall& call,
                                            const std::vector<GatherSegment>& segments) override;
  absl::StatusOr<PolledWork> BeginReduceScatter(
      const CommCall& call, const std::vector<ReduceSegment>& segments) override;
  absl::StatusOr<PolledWork> BeginBroadcast(const CommCall& call, void* data, int64_t bytes,
                                            int root) override;
  absl::StatusOr<PolledWork> BeginExchange(const CommCall& call,
                                           const ExchangeLists& lists) override;
  absl::StatusOr<PolledWork> BeginBarrier(const CommCall& call) override;

 private:
  std::shared_ptr<MpiProcess> process_;
  HostStream& lane_;
  MpiChannel channel_;
  std::vector<void*> buffers_;
  std::vector<float> slots_;  // of MpiReduceScatter
};

}  // namespace blockstep
