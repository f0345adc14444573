#include "launcher/checkpoint/weights_sha256.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <numeric>

#include "core/base/sha256.h"
#include "core/base/status.h"
#include "core/data/safetensors.h"
#include "core/io/file_ops.h"
#include "dist/group_status.h"

namespace blockstep {
namespace {

constexpr int64_t kPieceBytes = int64_t{4} << 20;
constexpr int64_t kBatchBytes = int64_t{16} << 20;

// Rows of one owner, in the order in which they are hashed.
struct Piece {
  int tensor = 0;
  int rank = 0;
  Range rows;  // absolute
  int64_t bytes = 0;
  bool opens = false;  // the tensor's first piece: its name, dtype and shape go before it
};

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

std::vector<Piece> PiecesInOrder(const OwnedWeights& weights, const std::vector<Range>& owners,
                                 int ranks) {
  const auto& tensors = weights.table->tensors;
  std::vector<int> order(tensors.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) {
    return tensors[static_cast<size_t>(a)].name < tensors[static_cast<size_t>(b)].name;
  });
  std::vector<Piece> pieces;
  for (const int t : order) {
    const int64_t row_bytes =
        tensors[static_cast<size_t>(t)].cols * DTypeSize(weights.owned(t).dtype);
    const int64_t step = std::max<int64_t>(1, kPieceBytes / row_bytes);
    bool opens = true;
    int64_t next = 0;
    for (int r = 0; r < ranks; ++r) {  // owners' rows ascend with the rank
      const Range rows = owners[static_cast<size_t>(r) * tensors.size() + static_cast<size_t>(t)];
      for (int64_t row = rows.begin; row < rows.end; row += step) {
        const Range part{row, std::min(row + step, rows.end)};
        CHECK_EQ(part.begin, next);
        next = part.end;
        pieces.push_back({t, r, part, part.size() * row_bytes, opens});
        opens = false;
      }
    }
    CHECK_EQ(next, tensors[static_cast<size_t>(t)].rows);
  }
  return pieces;
}

// The piece's bytes without row padding; `copy` is used if the view has any.
const char* Bytes(const OwnedWeights& weights, const Piece& piece, std::vector<char>& copy) {
  const Range owned = weights.owned_range(piece.tensor);
  const TensorView view = weights.owned(piece.tensor)
                              .Rows(piece.rows.begin - owned.begin, piece.rows.end - owned.begin);
  if (view.contiguous()) return static_cast<const char*>(view.data);
  copy.resize(static_cast<size_t>(piece.bytes));
  const size_t row = static_cast<size_t>(piece.bytes / view.rows);
  for (int64_t r = 0; r < view.rows; ++r) {
    std::memcpy(copy.data() + static_cast<size_t>(r) * row, view.Rows(r, r + 1).data, row);
  }
  return copy.data();
}

}  // namespace

absl::StatusOr<std::string> WeightsSha256(const OwnedWeights& weights, Communicator* group) {
  const auto& tensors = weights.table->tensors;
  std::vector<Range> mine;
  for (size_t t = 0; t < tensors.size(); ++t) {
    mine.push_back(weights.owned_range(static_cast<int>(t)));
  }
  std::vector<Range> owners(tensors.size() * static_cast<size_t>(group->size()));
  RETURN_IF_ERROR(group->HostAllGather(mine.data(),
                                       static_cast<int64_t>(mine.size() * sizeof(Range)),
                                       owners.data(), "weights' owners"));
  const std::vector<Piece> pieces = PiecesInOrder(weights, owners, group->size());
  Sha256 sha;
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
        sends.push_back({0, Bytes(weights, piece, buffer), piece.bytes});
      } else if (group->rank() == 0) {
        buffer.resize(static_cast<size_t>(piece.bytes));
        recvs.push_back({piece.rank, buffer.data(), piece.bytes});
      }
    }
    group->Exchange(std::move(sends), std::move(recvs), "weights to be hashed");
    RETURN_IF_ERROR(group->stream().Synchronize());
    for (size_t i = begin; group->rank() == 0 && i < end; ++i) {
      const Piece& piece = pieces[i];
      const TensorInfo& info = tensors[static_cast<size_t>(piece.tensor)];
      if (piece.opens) {
        const auto shape = info.vector ? std::vector<int64_t>{info.rows}
                                       : std::vector<int64_t>{info.rows, info.cols};
        sha.Update(Preamble(info.name, DTypeName(weights.owned(piece.tensor).dtype), shape));
      }
      const char* data =
          piece.rank == 0 ? Bytes(weights, piece, buffers[i - begin]) : buffers[i - begin].data();
      sha.Update(data, static_cast<size_t>(piece.bytes));
    }
    begin = end;
  }
  return BroadcastText(group, sha.Hex(), 0, "weights' hash");
}

int64_t WeightsSha256Bytes(const OwnedWeights& weights, int ranks, int rank) {
  if (rank != 0 || ranks == 1) return 0;
  int64_t others = 0;
  for (size_t t = 0; t < weights.table->tensors.size(); ++t) {
    const int index = static_cast<int>(t);
    const int64_t rows = weights.table->tensors[t].rows - weights.owned_range(index).size();
    others += rows * weights.table->tensors[t].cols * DTypeSize(weights.owned(index).dtype);
  }
  return std::min(others, kBatchBytes);
}

absl::StatusOr<std::string> WeightsSha256OfFolder(const std::string& folder) {
  // Files, not the index: what is hashed is every weight that lies there.
  std::map<std::string, std::pair<std::string, SafetensorsEntry>> found;  // name -> path, entry
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().extension() != ".safetensors") continue;
    ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(it->path().string()));
    for (const SafetensorsEntry& entry : file.entries()) {
      if (!found.emplace(entry.name, std::pair(file.path(), entry)).second) {
        return InvalidArgument(file.path(), ": tensor ", entry.name, " is also in ",
                               found.at(entry.name).first);
      }
    }
  }
  if (error) return FileError("list", folder, error.value());
  if (found.empty()) return NotFound(folder, ": no .safetensors file");
  Sha256 sha;
  std::vector<char> buffer;
  for (const auto& [name, place] : found) {
    const auto& [path, entry] = place;
    sha.Update(Preamble(name, entry.dtype, entry.shape));
    ASSIGN_OR_RETURN(const File file, File::OpenInput(path));
    for (int64_t done = 0; done < entry.bytes; done += kPieceBytes) {
      buffer.resize(static_cast<size_t>(std::min(kPieceBytes, entry.bytes - done)));
      RETURN_IF_ERROR(
          file.Read(buffer.data(), static_cast<int64_t>(buffer.size()), entry.offset + done));
      sha.Update(buffer.data(), buffer.size());
    }
  }
  return sha.Hex();
}

}  // namespace blockstep
