#include "dist/mpi/mpi_reduce_scatter.h"

#include <algorithm>

#include "core/base/status.h"

namespace blockstep {
namespace {

constexpr size_t kInFlight = 3;

// 256 KiB, less where many peers send one each: a slot takes at most 4 MiB. Depends on the size of
// the group only, so that all ranks split alike.
int64_t MaxPieceElements(int ranks) {
  return std::min(int64_t{1} << 16, std::max((int64_t{1} << 20) / ranks, int64_t{1024}));
}

}  // namespace

MpiReduceScatter::MpiReduceScatter(const CommCall& call, const std::vector<ReduceSegment>& segments,
                                   const MpiChannel& channel, int tag, std::vector<float>& slots)
    : call_(call),
      channel_(channel),
      tag_(tag),
      max_elements_(MaxPieceElements(channel.size)),
      slots_(slots),
      flights_(kInFlight) {
  if (slots_.empty() && channel_.size > 1) {
    slots_.resize(kInFlight * channel_.size * max_elements_);
  }
  for (const ReduceSegment& s : segments) {
    int64_t longest = 0;
    for (int r = 0; r < channel_.size; ++r) {
      longest = std::max(longest, s.offsets[r + 1] - s.offsets[r]);
    }
    for (int64_t first = 0; first < longest; first += max_elements_) pieces_.push_back({&s, first});
  }
}

// Of the part that belongs to `rank`.
int64_t MpiReduceScatter::Elements(const Piece& piece, int rank) const {
  const std::vector<int64_t>& o = piece.segment->offsets;
  return std::clamp<int64_t>(o[rank + 1] - o[rank] - piece.first, 0, max_elements_);
}

float* MpiReduceScatter::Slot(size_t flight, int peer) const {
  return slots_.data() + (static_cast<int64_t>(flight) * channel_.size + peer) * max_elements_;
}

absl::Status MpiReduceScatter::Post(const Piece& piece, size_t flight) {
  const int rank = channel_.rank, size = channel_.size;
  const auto bytes_of = [&](int r) {
    return Elements(piece, r) * static_cast<int64_t>(sizeof(float));
  };
  MpiRequests& requests = flights_[flight].emplace(call_, channel_);
  for (int step = 1; step < size; ++step) {
    const int from = (rank - step + size) % size;
    RETURN_IF_ERROR(requests.Receive(Slot(flight, from), bytes_of(rank), from, tag_));
  }
  for (int step = 1; step < size; ++step) {
    const int to = (rank + step) % size;
    const float* part = piece.segment->in + piece.segment->offsets[to];
    RETURN_IF_ERROR(requests.Send(part + piece.first, bytes_of(to), to, tag_));
  }
  return absl::OkStatus();
}

void MpiReduceScatter::Add(const Piece& piece, size_t flight) const {
  const int rank = channel_.rank;
  const float* own = piece.segment->in + piece.segment->offsets[rank] + piece.first;
  std::vector<const float*> parts(channel_.size);
  for (int r = 0; r < channel_.size; ++r) parts[r] = r == rank ? own : Slot(flight, r);
  SumInRankOrder(parts, Elements(piece, rank), piece.segment->out + piece.first);
}

absl::StatusOr<Polled> MpiReduceScatter::Poll() {
  for (; posted_ < std::min(pieces_.size(), added_ + kInFlight); ++posted_) {
    RETURN_IF_ERROR(Post(pieces_[posted_], posted_ % kInFlight));
  }
  if (added_ == pieces_.size()) return Polled::kDone;
  const size_t flight = added_ % kInFlight;
  ASSIGN_OR_RETURN(const Polled oldest, flights_[flight]->Poll());
  if (oldest != Polled::kDone) return oldest;
  Add(pieces_[added_], flight);
  ++added_;
  return added_ == pieces_.size() ? Polled::kDone : Polled::kProgress;
}

}  // namespace blockstep
