// A save in the background of training. Its parts run on a thread of their own; the engine asks
// part_done() once a step, ranks compare in the step's exchange, and where every rank's part is
// done all of them call Advance() after the same step.
#pragma once

#include <memory>

#include "core/device/fifo_stream.h"
#include "core/step/active_set.h"
#include "launcher/checkpoint/checkpoint.h"

namespace blockstep {

class BackgroundSave {
 public:
  // Copies the optimizer state, which a switch of the active set drops, and starts. `memory` stays
  // valid until this object is gone; `pool` is only what a Stream wants and is not used.
  static absl::StatusOr<std::unique_ptr<BackgroundSave>> Start(std::unique_ptr<CheckpointSave> save,
                                                               StagingMemory memory,
                                                               ThreadPool* pool);
  // Gives the save up: ends after the operation in hand. What is on disk keeps its temporary name.
  ~BackgroundSave();

  // This rank's share of the part in hand.
  bool part_done() const { return done_.done(); }
  // Before the train entries of `set` are written: their rows are in the files already, or copied.
  absl::Status BeforeCommit(const ActiveSet& set);
  // Collective, with part_done() on every rank. True: there is another part, which has begun.
  absl::StatusOr<bool> Advance();
  // Collective: waits for the parts that are left.
  absl::Status Finish();

  const absl::StatusOr<CheckpointInfo>& outcome() const { return save_->outcome(); }
  int64_t staged_bytes() const { return staged_bytes_; }

 private:
  BackgroundSave(std::unique_ptr<CheckpointSave> save, StagingMemory memory, ThreadPool* pool)
      : save_(std::move(save)), memory_(std::move(memory)), thread_("checkpoint", pool) {}
  absl::Status Stage(const std::function<bool(const SavePiece&)>& changes);
  void BeginPart();

  std::unique_ptr<CheckpointSave> save_;
  StagingMemory memory_;
  int64_t staged_bytes_ = 0;
  absl::Status worked_;  // of the part in hand; read after done_
  Event done_;
  FifoStream thread_;  // last: it ends before what it uses
};

}  // namespace blockstep
