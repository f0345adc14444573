#include "launcher/checkpoint/content_sha256.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "core/base/sha256.h"
#include "core/base/status.h"
#include "dist/agreement.h"

namespace blockstep {
namespace {

// A matrix whose rows lie on several ranks: its hash is the same for every number of ranks.
struct RowsToHash {
  std::string preamble;  // hashed before the rows
  Range all;             // rows that the ranks have together; not empty
  Range mine;            // this rank's, ascending with the rank and covering `all` without a gap
  TensorView view;       // (mine.size(), cols), host memory; an empty one carries dtype and cols
};

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

// The piece's bytes without row padding.
absl::StatusOr<const char*> Bytes(const RowsToHash& matrix, const Piece& piece,
                                  const DeviceAccess& access, std::vector<char>& buffer) {
  const int64_t first = matrix.mine.begin;
  return access.Read(matrix.view.Rows(piece.rows.begin - first, piece.rows.end - first), buffer);
}

// Hashes `preamble`, then each matrix's own and its unpadded rows, in order. Collective: every rank
// lists the same matrices; the hash is returned on every rank. `what` names them in errors. Rows
// travel to rank 0 in pieces (at most 16 MiB are under way): all bytes - rank 0's own are sent in
// Exchange, which communicator counters show.
absl::StatusOr<std::string> Sha256OfRows(const std::string& preamble,
                                         const std::vector<RowsToHash>& matrices,
                                         const DeviceAccess& access, Communicator* group,
                                         const std::string& what) {
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
  sha.Update(preamble);
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
        ASSIGN_OR_RETURN(const char* data, Bytes(matrices[piece.matrix], piece, access, buffer));
        sends.push_back({0, data, piece.bytes});
      } else if (group->rank() == 0) {
        buffer.resize(static_cast<size_t>(piece.bytes));
        recvs.push_back({piece.rank, buffer.data(), piece.bytes});
      }
    }
    group->Exchange(std::move(sends), std::move(recvs), Cat(what, " to be hashed"));
    RETURN_IF_ERROR(group->Synchronize());
    for (size_t i = begin; group->rank() == 0 && i < end; ++i) {
      const Piece& piece = pieces[i];
      const RowsToHash& matrix = matrices[piece.matrix];
      if (piece.opens) sha.Update(matrix.preamble);
      const char* data = buffers[i - begin].data();
      if (piece.rank == 0) {
        ASSIGN_OR_RETURN(data, Bytes(matrix, piece, access, buffers[i - begin]));
      }
      sha.Update(data, static_cast<size_t>(piece.bytes));
    }
    begin = end;
  }
  return BroadcastText(group, sha.Hex(), 0, Cat(what, ": hash"));
}

// Memory that takes while it lasts on rank `rank`, beyond the rows themselves.
int64_t Sha256OfRowsBytes(const std::vector<RowsToHash>& matrices, int ranks, int rank) {
  if (rank != 0 || ranks == 1) return 0;
  int64_t others = 0;
  for (const RowsToHash& m : matrices) {
    others += (m.all.size() - m.mine.size()) * RowBytes(m.view);
  }
  return std::min(others, kBatchBytes);
}

std::string Preamble(std::string_view name, std::string_view dtype,
                     const std::vector<int64_t>& shape) {
  std::string text(name);
  text += '\0';
  text += dtype;
  text += '\0';
  for (size_t i = 0; i < shape.size(); ++i) text += Cat(i == 0 ? "" : ",", shape[i]);
  text += '\0';
  return text;
}

// Sorted by name.
std::vector<RowsToHash> InOrder(const OwnedWeights& weights) {
  const auto& tensors = weights.table->tensors;
  std::vector<int> order(tensors.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) {
    return tensors[static_cast<size_t>(a)].name < tensors[static_cast<size_t>(b)].name;
  });
  std::vector<RowsToHash> matrices;
  for (const int t : order) {
    const TensorInfo& info = tensors[static_cast<size_t>(t)];
    const auto shape =
        info.vector ? std::vector<int64_t>{info.rows} : std::vector<int64_t>{info.rows, info.cols};
    const TensorView view = weights.owned(t);
    matrices.push_back({.preamble = Preamble(info.name, DTypeName(view.dtype), shape),
                        .all = {0, info.rows},
                        .mine = weights.owned_range(t),
                        .view = view});
  }
  return matrices;
}

std::string Place(const TensorTable& table, int tensor, Range rows) {
  return Cat(table.tensors[static_cast<size_t>(tensor)].name, "[", rows.begin, ",", rows.end, ")");
}

std::vector<RowsToHash> InOrder(const TensorTable& table, std::vector<StateSlice> states,
                                int rank) {
  std::sort(states.begin(), states.end(), [](const StateSlice& a, const StateSlice& b) {
    return std::tie(a.tensor, a.rows.begin, a.name) < std::tie(b.tensor, b.rows.begin, b.name);
  });
  std::vector<RowsToHash> rows;
  for (const StateSlice& s : states) {
    RowsToHash m{.preamble = Cat(Place(table, s.tensor, s.rows), " ", s.name, " ",
                                 DTypeName(s.view.dtype), "\n"),
                 .all = s.rows,
                 .mine = {s.row0, s.row0 + s.view.rows},
                 .view = s.view};
    if (s.layout == StateLayout::kReplicated) {  // every rank has it: rank 0's is hashed
      CHECK_EQ(s.view.rows, 1);
      m.all = {0, 1};
      m.mine = {0, rank == 0 ? 1 : 0};
    }
    if (m.mine.empty()) m.mine = {m.all.end, m.all.end};
    rows.push_back(std::move(m));
  }
  return rows;
}

}  // namespace

absl::StatusOr<std::string> WeightsSha256(const OwnedWeights& weights, Communicator* group) {
  return Sha256OfRows("", InOrder(weights), weights.access, group, "weights");
}

int64_t WeightsSha256Bytes(const OwnedWeights& weights, int ranks, int rank) {
  return Sha256OfRowsBytes(InOrder(weights), ranks, rank);
}

absl::StatusOr<std::string> StateSha256(const TensorTable& table, const StateToHash& state,
                                        const DeviceAccess& access, Communicator* group) {
  std::string counters;
  for (const EntryCounter& c : state.counters) {
    counters += Cat(Place(table, c.tensor, c.rows), " ", c.updates, "\n");
  }
  return Sha256OfRows(counters, InOrder(table, state.states, group->rank()), access, group,
                      "state");
}

int64_t StateSha256Bytes(const TensorTable& table, const StateToHash& state, int ranks, int rank) {
  return Sha256OfRowsBytes(InOrder(table, state.states, rank), ranks, rank);
}

}  // namespace blockstep
