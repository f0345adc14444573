#include "launcher/checkpoint/save_pieces.h"

#include <algorithm>

#include "core/base/status.h"

namespace blockstep {
namespace {

constexpr int64_t kCopyAlignment = 16;

}  // namespace

int64_t PieceRows(int64_t row_bytes, int64_t max_slice_bytes) {
  return std::max<int64_t>(1, max_slice_bytes / row_bytes);
}

int64_t StagedBytes(Range owned, Range rows, int64_t row_bytes, int64_t max_slice_bytes) {
  const int64_t step = PieceRows(row_bytes, max_slice_bytes);
  int64_t bytes = 0;
  for (int64_t begin = owned.begin; begin < owned.end; begin += step) {
    const Range piece{begin, std::min(begin + step, owned.end)};
    if (Intersect(piece, rows).empty()) continue;
    bytes += RoundUp(piece.size() * row_bytes, kCopyAlignment);
  }
  return bytes;
}

std::optional<SavePiece> SavePieces::Take() {
  std::lock_guard lock(mutex_);
  CHECK(!writing_);
  if (cancelled_ || next_ == pieces_.size()) return std::nullopt;
  writing_ = true;
  return pieces_[next_];
}

void SavePieces::Written() {
  {
    std::lock_guard lock(mutex_);
    CHECK(writing_);
    writing_ = false;
    ++next_;
  }
  written_.notify_all();
}

absl::StatusOr<int64_t> SavePieces::Stage(const std::function<bool(const SavePiece&)>& changes,
                                          const StagingMemory& memory) {
  // Held over the copies: the writer stands still for as long as memory is copied.
  std::unique_lock lock(mutex_);
  staged_.resize(pieces_.size(), 0);
  const auto waits = [&](size_t i) { return staged_[i] == 0 && changes(pieces_[i]); };
  written_.wait(lock, [&] { return !writing_ || !waits(next_); });
  if (cancelled_) return 0;
  std::vector<size_t> found;
  int64_t bytes = 0;
  for (size_t i = next_; i < pieces_.size(); ++i) {
    if (!waits(i)) continue;
    found.push_back(i);
    bytes += RoundUp(pieces_[i].view.bytes(), kCopyAlignment);
  }
  if (found.empty()) return 0;
  ASSIGN_OR_RETURN(void* data, memory.allocate(bytes));
  std::vector<StagingMemory::Copy> copies;
  char* at = static_cast<char*>(data);
  for (const size_t i : found) {
    const TensorView& from = pieces_[i].view;
    copies.push_back({from, TensorView::Of(at, from.dtype, from.rows, from.cols)});
    at += RoundUp(from.bytes(), kCopyAlignment);
  }
  RETURN_IF_ERROR(memory.copy(copies));
  for (size_t c = 0; c < found.size(); ++c) {
    pieces_[found[c]].view = copies[c].to;
    staged_[found[c]] = 1;
  }
  return bytes;
}

void SavePieces::Cancel() {
  std::lock_guard lock(mutex_);
  cancelled_ = true;
}

}  // namespace blockstep
