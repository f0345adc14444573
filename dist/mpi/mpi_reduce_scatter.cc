// Reduce-scatter by pairs: every rank sends each peer that peer's part and adds what it receives
// for its own part in rank order. Parts are split into like-numbered pieces; while one is added,
// the next ones are on their way.
#include <algorithm>
#include <optional>

#include "core/base/status.h"
#include "dist/mpi/mpi_communicator.h"

namespace blockstep {
namespace {

constexpr int kInFlight = 3;

// 256 KiB, less where many peers send one each: a slot takes at most 4 MiB. Depends on the size of
// the group only, so that all ranks split alike.
int64_t MaxPieceElements(int ranks) {
  return std::min(int64_t{1} << 16, std::max((int64_t{1} << 20) / ranks, int64_t{1024}));
}

}  // namespace

std::vector<MpiCommunicator::Piece> MpiCommunicator::PiecesOf(
    const std::vector<ReduceSegment>& segments) const {
  std::vector<Piece> pieces;
  for (const ReduceSegment& s : segments) {
    int64_t longest = 0;
    for (int r = 0; r < size(); ++r) {
      longest = std::max(longest, s.offsets[r + 1] - s.offsets[r]);
    }
    for (int64_t first = 0; first < longest; first += MaxPieceElements(size())) {
      pieces.push_back({&s, first});
    }
  }
  return pieces;
}

// Of the part that belongs to `rank`.
int64_t MpiCommunicator::PieceElements(const Piece& piece, int rank) const {
  const std::vector<int64_t>& o = piece.segment->offsets;
  return std::clamp<int64_t>(o[rank + 1] - o[rank] - piece.first, 0, MaxPieceElements(size()));
}

absl::Status MpiCommunicator::Post(const Piece& piece, int slot, int tag, MpiRequests& requests) {
  const int64_t own = PieceElements(piece, rank()) * static_cast<int64_t>(sizeof(float));
  const int64_t limit = process_->max_message_bytes;
  for (int step = 1; step < size(); ++step) {
    const int from = (rank() - step + size()) % size();
    float* place = slots_.data() + (slot * size() + from) * MaxPieceElements(size());
    RETURN_IF_ERROR(requests.Receive(place, own, from, tag, comm_, limit));
  }
  for (int step = 1; step < size(); ++step) {
    const int to = (rank() + step) % size();
    RETURN_IF_ERROR(requests.Send(piece.segment->in + piece.segment->offsets[to] + piece.first,
                                  PieceElements(piece, to) * static_cast<int64_t>(sizeof(float)),
                                  to, tag, comm_, limit));
  }
  return absl::OkStatus();
}

void MpiCommunicator::Add(const Piece& piece, int slot) const {
  std::vector<const float*> parts(size());
  for (int r = 0; r < size(); ++r) {
    parts[r] = r == rank() ? piece.segment->in + piece.segment->offsets[r] + piece.first
                           : slots_.data() + (slot * size() + r) * MaxPieceElements(size());
  }
  SumInRankOrder(parts, PieceElements(piece, rank()), piece.segment->out + piece.first);
}

absl::Status MpiCommunicator::DoReduceScatter(const CommCall& call,
                                              const std::vector<ReduceSegment>& segments) {
  const std::vector<Piece> pieces = PiecesOf(segments);
  if (slots_.empty() && size() > 1) slots_.resize(kInFlight * size() * MaxPieceElements(size()));
  const int tag = static_cast<int>(call.sequence % 8191) * 4 + 2;
  std::vector<std::optional<MpiRequests>> flights(kInFlight);
  for (size_t i = 0; i < pieces.size() + kInFlight - 1; ++i) {
    if (i < pieces.size()) {
      flights[i % kInFlight].emplace(NewRequests(call));
      RETURN_IF_ERROR(
          Post(pieces[i], static_cast<int>(i % kInFlight), tag, *flights[i % kInFlight]));
    }
    if (i + 1 < kInFlight) continue;
    const size_t done = i + 1 - kInFlight;
    RETURN_IF_ERROR(flights[done % kInFlight]->WaitAll());
    Add(pieces[done], static_cast<int>(done % kInFlight));
  }
  return absl::OkStatus();
}

}  // namespace blockstep
