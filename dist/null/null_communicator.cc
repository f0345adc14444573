#include "dist/null/null_communicator.h"

#include <cstring>

#include "core/base/status.h"

namespace blockstep {

absl::StatusOr<std::unique_ptr<Communicator>> NullCommunicator::Split(int, int) {
  return std::unique_ptr<Communicator>(std::make_unique<NullCommunicator>(size(), rank()));
}

absl::StatusOr<void*> NullCommunicator::AllocateBuffer(int64_t bytes) {
  return absl::FailedPreconditionError(
      Cat("null communicator: asked for ", bytes, " bytes of communication memory; it has none"));
}

absl::Status NullCommunicator::HostAllGather(const void* mine, int64_t bytes, void* out,
                                             std::string what) {
  RETURN_IF_ERROR(Communicator::HostAllGather(mine, bytes, out, std::move(what)));
  for (int r = 0; r < size(); ++r) {
    std::memcpy(static_cast<char*>(out) + r * bytes, mine, bytes);
  }
  return absl::OkStatus();
}

absl::StatusOr<PolledWork> NullCommunicator::BeginAllGather(const CommCall&,
                                                            const std::vector<GatherSegment>&) {
  return PolledWork();
}
absl::StatusOr<PolledWork> NullCommunicator::BeginReduceScatter(const CommCall&,
                                                                const std::vector<ReduceSegment>&) {
  return PolledWork();
}
absl::StatusOr<PolledWork> NullCommunicator::BeginBroadcast(const CommCall&, void*, int64_t, int) {
  return PolledWork();
}
absl::StatusOr<PolledWork> NullCommunicator::BeginExchange(const CommCall&, const ExchangeLists&) {
  return PolledWork();
}
absl::StatusOr<PolledWork> NullCommunicator::BeginBarrier(const CommCall&) { return PolledWork(); }

}  // namespace blockstep
