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

absl::Status NullCommunicator::DoAllGather(const CommCall&,
                                           const std::vector<GatherSegment>& segments) {
  if (peers_ == Peers::kSilent) return absl::OkStatus();
  for (const GatherSegment& s : segments) {
    char* base = static_cast<char*>(s.base);
    const int64_t bytes = s.offsets[rank() + 1] - s.offsets[rank()];
    for (int r = 0; r < size(); ++r) {
      CHECK_EQ(s.offsets[r + 1] - s.offsets[r], bytes);
      if (r != rank()) std::memcpy(base + s.offsets[r], base + s.offsets[rank()], bytes);
    }
  }
  return absl::OkStatus();
}
absl::Status NullCommunicator::DoReduceScatter(const CommCall&, const std::vector<ReduceSegment>&) {
  return absl::OkStatus();
}
absl::Status NullCommunicator::DoBroadcast(const CommCall&, void*, int64_t, int) {
  return absl::OkStatus();
}
absl::Status NullCommunicator::DoExchange(const CommCall&, const ExchangeLists&) {
  return absl::OkStatus();
}
absl::Status NullCommunicator::DoBarrier(const CommCall&) { return absl::OkStatus(); }

}  // namespace blockstep
