// Reduce-scatter by pairs: every rank sends each peer that peer's part and adds what it receives
// for its own part in rank order. Parts are split into like-numbered pieces; while one is added,
// the next ones are on their way.
#pragma once

#include <optional>
#include <vector>

#include "dist/mpi/mpi_wait.h"

namespace blockstep {

class MpiReduceScatter {
 public:
  // All of these outlive it. `slots` holds received pieces, [flight][peer][element]: made the first
  // time, of use to one call at a time.
  MpiReduceScatter(const CommCall& call, const std::vector<ReduceSegment>& segments,
                   const MpiChannel& channel, int tag, std::vector<float>& slots);

  // Sends what may be sent and adds the oldest piece if it is complete.
  absl::StatusOr<Polled> Poll();

 private:
  // Part of a segment of which each rank gets a like-numbered piece.
  struct Piece {
    const ReduceSegment* segment = nullptr;
    int64_t first = 0;  // element inside each rank's part
  };
  int64_t Elements(const Piece& piece, int rank) const;
  float* Slot(size_t flight, int peer) const;
  absl::Status Post(const Piece& piece, size_t flight);
  void Add(const Piece& piece, size_t flight) const;

  const CommCall& call_;
  const MpiChannel& channel_;
  const int tag_;
  const int64_t max_elements_;  // of a piece
  std::vector<float>& slots_;
  std::vector<Piece> pieces_;
  size_t posted_ = 0, added_ = 0;  // pieces so far
  std::vector<std::optional<MpiRequests>> flights_;
};

}  // namespace blockstep
