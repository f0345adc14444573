// Kernels that note a digest of everything they write, for comparing runs op by op. They compute
// what the kernels below them compute; notes are taken on the op's own stream, after it.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "core/base/op_digests.h"
#include "core/ops/kernel_table.h"

namespace blockstep {

// Of one rank: what runs on this thread is noted from construction to destruction, while a slot is
// in hand. A thread has one at most.
class OpNotes {
 public:
  // `take` gets the records, from any thread that runs ops.
  using TakeRecord = std::function<void(const OpRecord&)>;
  OpNotes(const KernelTable& base, TakeRecord take);
  ~OpNotes();
  OpNotes(const OpNotes&) = delete;
  static OpNotes* OfThread();  // null: nothing is noted here

  const KernelTable& base() const { return base_; }

  // What follows belongs to this part of the step. Kernels note in part kSlot only; the others
  // have no slot.
  void BeginPass(int64_t step, int64_t pass);
  void BeginPart(StepPart part, int64_t slot = -1);
  void SetOp(int64_t op) { key_.op = op; }  // counts on from here
  void EndPart() { open_ = false; }
  bool in_slot() const { return open_ && key_.part == StepPart::kSlot; }

  // "backward layer 1", of the ops that follow.
  void SetScope(std::string scope) { scope_ = std::move(scope); }
  // Ops that read or write `data` as a weight or its gradient say this name.
  void Name(const void* data, std::string name) { names_[data] = std::move(name); }
  // " <name>", or nothing.
  std::string NameOf(const void* data) const;

  // Rows of a whole that begin at element `first` of it. fp32; valid until the stream has passed.
  void Note(Stream& stream, const std::string& label, const TensorView& view, int64_t first = 0);
  // A number that the host has.
  void Note(const std::string& label, uint64_t bits);
  // With the scope before the label.
  void NoteInScope(Stream& stream, std::string_view label, const TensorView& view);

 private:
  OpKey Next();
  const KernelTable& base_;
  const TakeRecord take_;
  OpKey key_;
  bool open_ = false;
  std::string scope_;
  std::map<const void*, std::string> names_;
};

// Calls OfThread()->base(): every thread that calls these kernels needs its OpNotes.
const KernelTable& DigestKernels();

}  // namespace blockstep
