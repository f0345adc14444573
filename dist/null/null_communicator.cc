#include "dist/null/null_communicator.h"

#include <cstring>

#include "core/base/check.h"
#include "core/base/status.h"

namespace blockstep {

absl::StatusOr<std::unique_ptr<Communicator>> NullCommunicator::Split(
    const std::vector<int>& colors) {
  const SplitPart part = SplitPart::Of(colors, rank());
  return std::unique_ptr<Communicator>(
      std::make_unique<NullCommunicator>(part.size, part.rank, peers_));
}

absl::StatusOr<void*> NullCommunicator::AllocateBuffer(int64_t bytes) {
  return absl::FailedPreconditionError(
      Cat("null communicator: asked for ", bytes, " bytes of communication memory; it has none"));
}

absl::StatusOr<PolledWork> NullCommunicator::BeginAllGather(
    const CommCall&, const std::vector<GatherSegment>& segments) {
  if (peers_ == Peers::kSilent) return PolledWork();
  for (const GatherSegment& s : segments) {
    char* base = static_cast<char*>(s.base);
    const int64_t bytes = s.offsets[rank() + 1] - s.offsets[rank()];
    for (int r = 0; r < size(); ++r) {
      CHECK_EQ(s.offsets[r + 1] - s.offsets[r], bytes);
      if (r != rank()) std::memcpy(base + s.offsets[r], base + s.offsets[rank()], bytes);
    }
  }
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
