#include "dist/mpi/mpi_communicator.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/base/check.h"
#include "core/base/status.h"
#include "dist/mpi/mpi_reduce_scatter.h"

namespace blockstep {
namespace {

// Below every MPI's smallest upper bound for tags (32767).
int TagOf(const CommCall& call, int kind) {
  return static_cast<int>(call.sequence % 8191) * 4 + kind;
}

PolledWork InFlight(std::shared_ptr<MpiRequests> requests) {
  return [requests = std::move(requests)] { return requests->Poll(); };
}

}  // namespace

MpiCommunicator::MpiCommunicator(std::shared_ptr<MpiProcess> process, HostStream& lane,
                                 MPI_Comm comm, int rank, int size)
    : OrderedCommunicator(rank, size, process->tracer),
      process_(std::move(process)),
      lane_(lane),
      channel_{.comm = comm,
               .rank = rank,
               .size = size,
               .timeout = process_->timeout,
               .max_message_bytes = process_->max_message_bytes} {}

MpiCommunicator::~MpiCommunicator() {
  lane_.Run([this] {
    // After a failure the others may never come, and messages may still be under way.
    if (process_->finalized || !process_->control->status().ok() || !process_->data->status().ok())
      return;
    for (void* buffer : buffers_) MPI_Free_mem(buffer);
    if (channel_.comm != MPI_COMM_WORLD) MPI_Comm_free(&channel_.comm);
  });
  lane_.Record().Block();
}

absl::StatusOr<PolledWork> MpiCommunicator::BeginAllGather(
    const CommCall& call, const std::vector<GatherSegment>& segments) {
  const auto requests = std::make_shared<MpiRequests>(call, channel_);
  const int tag = TagOf(call, 0);
  for (int step = 1; step < size(); ++step) {
    const int from = (rank() - step + size()) % size();
    for (const GatherSegment& s : segments) {
      RETURN_IF_ERROR(requests->Receive(static_cast<char*>(s.base) + s.offsets[from],
                                        s.offsets[from + 1] - s.offsets[from], from, tag));
    }
  }
  for (int step = 1; step < size(); ++step) {
    const int to = (rank() + step) % size();  // each step another pair: nobody is sent to by all
    for (const GatherSegment& s : segments) {
      RETURN_IF_ERROR(requests->Send(static_cast<const char*>(s.base) + s.offsets[rank()],
                                     s.offsets[rank() + 1] - s.offsets[rank()], to, tag));
    }
  }
  return InFlight(requests);
}

absl::StatusOr<PolledWork> MpiCommunicator::BeginReduceScatter(
    const CommCall& call, const std::vector<ReduceSegment>& segments) {
  const auto work =
      std::make_shared<MpiReduceScatter>(call, segments, channel_, TagOf(call, 2), slots_);
  return PolledWork([work] { return work->Poll(); });
}

absl::StatusOr<PolledWork> MpiCommunicator::BeginExchange(const CommCall& call,
                                                          const ExchangeLists& lists) {
  const auto requests = std::make_shared<MpiRequests>(call, channel_);
  const int tag = TagOf(call, 1);
  for (const PeerRecv& r : lists.recvs) {
    if (r.peer == rank()) continue;
    RETURN_IF_ERROR(requests->Receive(r.data, r.bytes, r.peer, tag));
  }
  for (const PeerSend& s : lists.sends) {
    if (s.peer == rank()) continue;
    RETURN_IF_ERROR(requests->Send(s.data, s.bytes, s.peer, tag));
  }
  size_t next = 0;
  for (const PeerRecv& r : lists.recvs) {
    if (r.peer != rank()) continue;
    while (next < lists.sends.size() && lists.sends[next].peer != rank()) ++next;
    CHECK_LT(next, lists.sends.size());
    CHECK_EQ(lists.sends[next].bytes, r.bytes);
    if (r.bytes > 0) std::memcpy(r.data, lists.sends[next].data, r.bytes);
    ++next;
  }
  return InFlight(requests);
}

absl::StatusOr<PolledWork> MpiCommunicator::BeginBroadcast(const CommCall& call, void* data,
                                                           int64_t bytes, int root) {
  const auto requests = std::make_shared<MpiRequests>(call, channel_);
  const int64_t limit = channel_.max_message_bytes;
  for (int64_t at = 0; at < bytes; at += limit) {
    const int count = static_cast<int>(std::min(limit, bytes - at));
    MPI_Request request;
    const int code =
        MPI_Ibcast(static_cast<char*>(data) + at, count, MPI_BYTE, root, channel_.comm, &request);
    RETURN_IF_ERROR(requests->Add(code, request));
  }
  return InFlight(requests);
}

absl::StatusOr<PolledWork> MpiCommunicator::BeginBarrier(const CommCall& call) {
  const auto requests = std::make_shared<MpiRequests>(call, channel_);
  MPI_Request request;
  const int code = MPI_Ibarrier(channel_.comm, &request);
  RETURN_IF_ERROR(requests->Add(code, request));
  return InFlight(requests);
}

absl::StatusOr<std::unique_ptr<Communicator>> MpiCommunicator::Split(
    const std::vector<int>& colors) {
  // MPI_Comm_split blocks the thread, and without bound: it is entered only once everybody is known
  // to be here. Ranks that split both groups at once, one of them in another order than the rest,
  // would wait in it for good; one Split at a time, they time out by name.
  const std::lock_guard alone(process_->split);
  Barrier("split");
  MPI_Comm part = MPI_COMM_NULL;
  int part_rank = 0, part_size = 0;
  stream().RunFallible([&] {
    const CommCall call{.op = "split", .what = "split", .sequence = progress().sequence};
    absl::Status status =
        MpiStatus(MPI_Comm_split(channel_.comm, colors[rank()], rank(), &part), call, rank());
    if (!status.ok()) return status;
    MPI_Comm_set_errhandler(part, MPI_ERRORS_RETURN);
    MPI_Comm_rank(part, &part_rank);
    MPI_Comm_size(part, &part_size);
    return status;
  });
  RETURN_IF_ERROR(stream().Synchronize());
  return std::unique_ptr<Communicator>(
      std::make_unique<MpiCommunicator>(process_, lane_, part, part_rank, part_size));
}

absl::StatusOr<void*> MpiCommunicator::AllocateBuffer(int64_t bytes) {
  void* buffer = nullptr;
  int code = MPI_SUCCESS;
  stream().RunFallible([&] {
    code = MPI_Alloc_mem(bytes, MPI_INFO_NULL, &buffer);
    return absl::OkStatus();
  });
  RETURN_IF_ERROR(stream().Synchronize());
  if (code != MPI_SUCCESS) {
    return OnRank(ResourceExhausted("MPI_Alloc_mem of ", bytes, " bytes failed"),
                  {.rank = rank(), .ranks = size()});
  }
  buffers_.push_back(buffer);
  return buffer;
}

}  // namespace blockstep
