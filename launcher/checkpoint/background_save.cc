#include "launcher/checkpoint/background_save.h"

#include "core/base/status.h"

namespace blockstep {

absl::StatusOr<std::unique_ptr<BackgroundSave>> BackgroundSave::Start(
    std::unique_ptr<CheckpointSave> save, StagingMemory memory, ThreadPool* pool) {
  std::unique_ptr<BackgroundSave> started(
      new BackgroundSave(std::move(save), std::move(memory), pool));
  RETURN_IF_ERROR(started->Stage([](const SavePiece& piece) { return piece.state; }));
  started->BeginPart();
  return started;
}

BackgroundSave::~BackgroundSave() { save_->pieces().Cancel(); }

absl::Status BackgroundSave::Stage(const std::function<bool(const SavePiece&)>& changes) {
  ASSIGN_OR_RETURN(const int64_t bytes, save_->pieces().Stage(changes, memory_));
  staged_bytes_ += bytes;
  return absl::OkStatus();
}

void BackgroundSave::BeginPart() {
  thread_.Run([this] { worked_ = save_->Work(); });
  done_ = thread_.Record();
}

absl::Status BackgroundSave::BeforeCommit(const ActiveSet& set) {
  return Stage([&](const SavePiece& piece) {
    for (const ActiveEntry& entry : set.entries) {
      if (entry.role != Role::kTrain || entry.tensor != piece.tensor) continue;
      if (!Intersect(entry.rows, piece.rows).empty()) return true;
    }
    return false;
  });
}

absl::StatusOr<bool> BackgroundSave::Advance() {
  CHECK(part_done());
  ASSIGN_OR_RETURN(const bool more, save_->Turn(worked_));
  if (more) BeginPart();
  return more;
}

absl::Status BackgroundSave::Finish() {
  while (true) {
    done_.Block();
    ASSIGN_OR_RETURN(const bool more, Advance());
    if (!more) return absl::OkStatus();
  }
}

}  // namespace blockstep
