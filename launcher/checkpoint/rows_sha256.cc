#include "launcher/checkpoint/rows_sha256.h"

#include <algorithm>
#include <cstring>

#include "core/base/sha256.h"
#include "core/base/status.h"
#include "dist/agreement.h"

namespace blockstep {
namespace {

constexpr int64_t kPieceBytes = int64_t{4} << 20;
constexpr int64_t kBatchBytes = int64_t{16} << 20;

// Rows of one owner, in the order in which they are hashed.
struct Piece {
  size_t matrix = 0;
  int rank = 0;
  Range rows;  // absolute
  int64_t bytes = 0;
  bool opens = false;  // the matrix's first piece: its preamble goes before it
};

int64_t RowBytes(const TensorView& view) { return view.cols * DTypeSize(view.dtype); }

// `owners`: mine of every matrix, rank by rank.
std::vector<Piece> PiecesInOrder(const std::vector<RowsToHash>& matrices,
                                 const std::vector<Range>& owners, int ranks) {
  std::vector<Piece> pieces;
  for (size_t m = 0; m < matrices.size(); ++m) {
    const int64_t row_bytes = RowBytes(matrices[m].view);
    const int64_t step = std::max<int64_t>(1, kPieceBytes / row_bytes);
    bool opens = true;
    int64_t next = matrices[m].all.begin;
    for (int r = 0; r < ranks; ++r) {
      const Range rows = owners[static_cast<size_t>(r) * matrices.size() + m];
      for (int64_t row = rows.begin; row < rows.end; row += step) {
        const Range part{row, std::min(row + step, rows.end)};
        CHECK_EQ(part.begin, next);
        next = part.end;
        pieces.push_back({m, r, part, part.size() * row_bytes, opens});
        opens = false;
      }
    }
    CHECK_EQ(next, matrices[m].all.end);
    CHECK(!opens);
  }
  return pieces;
}

// The piece's bytes without row padding; `copy` is used if the view has any.
const char* Bytes(const RowsToHash& matrix, const Piece& piece, std::vector<char>& copy) {
  const TensorView view =
      matrix.view.Rows(piece.rows.begin - matrix.mine.begin, piece.rows.end - matrix.mine.begin);
  if (view.contiguous()) return static_cast<const char*>(view.data);
  copy.resize(static_cast<size_t>(piece.bytes));
  const size_t row = static_cast<size_t>(piece.bytes / view.rows);
  for (int64_t r = 0; r < view.rows; ++r) {
    std::memcpy(copy.data() + static_cast<size_t>(r) * row, view.Rows(r, r + 1).data, row);
  }
  return copy.data();
}

}  // namespace

absl::StatusOr<std::string> Sha256OfRows(const std::string& head,
                                         const std::vector<RowsToHash>& matrices,
                                         Communicator* group, const std::string& what) {
  std::vector<Range> mine;
  for (const RowsToHash& m : matrices) mine.push_back(m.mine);
  std::vector<Range> owners(matrices.size() * static_cast<size_t>(group->size()));
  if (!matrices.empty()) {
    RETURN_IF_ERROR(group->HostAllGather(mine.data(),
                                         static_cast<int64_t>(mine.size() * sizeof(Range)),
                                         owners.data(), Cat(what, ": owners")));
  }
  const std::vector<Piece> pieces = PiecesInOrder(matrices, owners, group->size());
  Sha256 sha;
  sha.Update(head);
  for (size_t begin = 0; begin < pieces.size();) {
    size_t end = begin;
    int64_t bytes = 0;
    while (end < pieces.size() && (end == begin || bytes + pieces[end].bytes <= kBatchBytes)) {
      bytes += pieces[end++].bytes;
    }
    std::vector<std::vector<char>> buffers(end - begin);
    std::vector<PeerSend> sends;
    std::vector<PeerRecv> recvs;
    for (size_t i = begin; i < end; ++i) {
      const Piece& piece = pieces[i];
      std::vector<char>& buffer = buffers[i - begin];
      if (piece.rank == 0) continue;
      if (piece.rank == group->rank()) {
        sends.push_back({0, Bytes(matrices[piece.matrix], piece, buffer), piece.bytes});
      } else if (group->rank() == 0) {
        buffer.resize(static_cast<size_t>(piece.bytes));
        recvs.push_back({piece.rank, buffer.data(), piece.bytes});
      }
    }
    group->Exchange(std::move(sends), std::move(recvs), Cat(what, " to be hashed"));
    RETURN_IF_ERROR(group->stream().Synchronize());
    for (size_t i = begin; group->rank() == 0 && i < end; ++i) {
      const Piece& piece = pieces[i];
      const RowsToHash& matrix = matrices[piece.matrix];
      if (piece.opens) sha.Update(matrix.preamble);
      const char* data =
          piece.rank == 0 ? Bytes(matrix, piece, buffers[i - begin]) : buffers[i - begin].data();
      sha.Update(data, static_cast<size_t>(piece.bytes));
    }
    begin = end;
  }
  return BroadcastText(group, sha.Hex(), 0, Cat(what, ": hash"));
}

int64_t Sha256OfRowsBytes(const std::vector<RowsToHash>& matrices, int ranks, int rank) {
  if (rank != 0 || ranks == 1) return 0;
  int64_t others = 0;
  for (const RowsToHash& m : matrices) {
    others += (m.all.size() - m.mine.size()) * RowBytes(m.view);
  }
  return std::min(others, kBatchBytes);
}

}  // namespace blockstep
