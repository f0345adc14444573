// MPI of one process. One thread makes every MPI call, MPI_Init_thread and MPI_Finalize included;
// nobody else may. It serves two communicators, each on a lane (dist/mpi/mpi_thread.h) and with
// messages of its own: `control` over MPI_COMM_WORLD, `data` over a copy of it. A call is posted
// when its turn on its lane has come, and looked at by MPI_Testsome with growing pauses, so that
// ranks that share cores do not spin each other to death. Every wait has a bound. After a failed
// call both communicators fail: no further call may let its messages move.
//
// Data moves by non-blocking messages between pairs, all of a call posted at once, split at 2^30
// bytes:
//   all-gather      1 step,  (N-1) * own part
//   reduce-scatter  pieces of at most 256 KiB per peer, three in flight; everything but the own
//                   part; the receiver adds in rank order: the bits of LocalCommunicator
//   broadcast, barrier: MPI_Ibcast, MPI_Ibarrier
// Open MPI's own non-blocking collectives are built the same way, except that its Ireduce_scatter
// reduces everything at one rank first; its blocking ones spin. Memory beyond the plan: three
// receive slots of N pieces, 12 MiB at most, per communicator that reduces, kept from the first
// reduce-scatter on.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "core/base/trace.h"
#include "dist/communicator.h"

namespace blockstep {

struct MpiOptions {
  // For each wait; what a rank may lag behind the others.
  std::chrono::milliseconds timeout{600'000};
  // How many ranks the launcher says there are and where it says so ("OMPI_COMM_WORLD_SIZE"); 0: it
  // does not say. N singletons of a mismatched MPI would overwrite one run folder.
  int launcher_size = 0;
  std::string launcher_source;
  Tracer* tracer = nullptr;  // (optional)
  int64_t max_message_bytes = int64_t{1} << 30;
};

class MpiRuntime {
 public:
  // Once per process. FAILED_PRECONDITION: the launcher and MPI disagree on the number of ranks.
  // Waits for all ranks without bound: the caller watches.
  static absl::StatusOr<std::unique_ptr<MpiRuntime>> Create(MpiOptions options);
  // Finalizes if nobody did and nothing has failed. After a failure MPI cannot be left in order:
  // the process should _exit, and mpirun ends the others.
  ~MpiRuntime();

  // All ranks.
  RankGroup group();
  Communicator& control();
  Communicator& data();
  // Place among the ranks of this machine.
  int local_rank() const;
  int local_size() const;
  // The lowest rank on this machine: equal for those that share it.
  int machine() const;
  static std::string LibraryVersion();  // "Open MPI v4.1.4"

  // Waits until nothing is left to do on either lane and for all ranks, then MPI_Finalize.
  // Communicators are dead afterwards.
  absl::Status Finalize();

 private:
  struct Impl;
  explicit MpiRuntime(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace blockstep
