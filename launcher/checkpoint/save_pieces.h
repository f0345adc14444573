// The rows that one rank writes of a save, in pieces, and where the bytes that they had at the
// save's step lie: in the run's own memory until someone is about to change it, in a staged copy
// from then on (copy on write). One writer thread takes pieces in order while the engine thread
// stages what it is going to change; the two meet only at the piece that is being written.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/math.h"
#include "core/tensor/tensor_view.h"

namespace blockstep {

struct SavePiece {
  int planned = 0;  // index of the tensor in the layout of the files
  int tensor = 0;   // of the model
  bool state = false;
  Range rows;       // absolute rows of the tensor; replicated state: [0, 1)
  TensorView view;  // (rows.size(), cols), host memory
};

// Rows of a piece: as many as `max_slice_bytes` hold, and at least one.
int64_t PieceRows(int64_t row_bytes, int64_t max_slice_bytes);
// Bytes that Stage asks for at most where rows [rows) of a tensor are about to change, of which a
// rank owns [owned): pieces are staged whole.
int64_t StagedBytes(Range owned, Range rows, int64_t row_bytes, int64_t max_slice_bytes);

// Where copies go and who makes them. `copy` makes all of them and returns when they are done;
// views have equal shapes and do not overlap.
struct StagingMemory {
  std::function<absl::StatusOr<void*>(int64_t bytes)> allocate;
  struct Copy {
    TensorView from, to;
  };
  std::function<absl::Status(std::span<const Copy> copies)> copy;
};

class SavePieces {
 public:
  explicit SavePieces(std::vector<SavePiece> pieces) : pieces_(std::move(pieces)) {}

  // Writer. The next piece, whose bytes stay as they are until Written(); none: all are written, or
  // the save was cancelled.
  std::optional<SavePiece> Take();
  void Written();

  // Engine. On return every piece that `changes` names may be changed: it is written, or copied.
  // Waits while such a piece is being written. Returns the bytes that it copied.
  absl::StatusOr<int64_t> Stage(const std::function<bool(const SavePiece&)>& changes,
                                const StagingMemory& memory);
  // Engine. The writer gets no further piece.
  void Cancel();

 private:
  std::mutex mutex_;
  std::condition_variable written_;
  std::vector<SavePiece> pieces_;
  std::vector<char> staged_;  // per piece
  size_t next_ = 0;           // the first that is not written yet
  bool writing_ = false;      // it is in the writer's hands
  bool cancelled_ = false;
};

}  // namespace blockstep
