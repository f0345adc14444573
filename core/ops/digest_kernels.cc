#include "core/ops/digest_kernels.h"

#include <bit>

#include "core/base/str.h"
#include "core/device/host_stream.h"

namespace blockstep {
namespace {

thread_local OpNotes* of_thread = nullptr;

OpDigest DigestOf(const TensorView& view, int64_t first) {
  OpDigest digest;
  for (int64_t r = 0; r < view.rows; ++r) {
    const float* row = view.f32(r);
    for (int64_t c = 0; c < view.cols; ++c) {
      digest.Add(first + r * view.cols + c, std::bit_cast<uint32_t>(row[c]));
    }
  }
  return digest;
}

const KernelTable& Base() {
  CHECK(of_thread != nullptr);
  return of_thread->base();
}

// What each op wrote. Copies, sums and fills have no lines: how often partial sums are added
// depends on the number of ranks, and what they lead to is noted as reduced gradients. Nor have
// embedding_forward, which is a message between ranks where the table is sharded (StepDigests notes
// the rows), and the update and the norms, which know nothing of slots.
void Outputs(OpNotes& n, Stream& s, const RmsNormForwardArgs& a) {
  const std::string name = n.NameOf(a.weight.data);
  n.NoteInScope(s, Cat("rms_norm sum", name), a.sum);
  n.NoteInScope(s, Cat("rms_norm rstd", name), a.rstd);
  n.NoteInScope(s, Cat("rms_norm y", name), a.y);
}
void Outputs(OpNotes& n, Stream& s, const RmsNormBackwardArgs& a) {
  n.NoteInScope(s, Cat("rms_norm dx", n.NameOf(a.weight.data)), a.dx);
  n.NoteInScope(s, Cat("rms_norm dW", n.NameOf(a.dweight.data)), a.dweight);
}
void Outputs(OpNotes& n, Stream& s, const MatmulArgs& a) {
  const bool dw = a.trans_a == Transpose::kYes, forward = a.trans_b == Transpose::kYes;
  const char* what = dw ? "matmul dW" : forward ? "matmul y" : "matmul dx";
  n.NoteInScope(s, Cat(what, n.NameOf(dw ? a.d.data : a.b.data)), a.d);
}
void Outputs(OpNotes& n, Stream& s, const RopeArgs& a) { n.NoteInScope(s, "rope", a.x); }
void Outputs(OpNotes& n, Stream& s, const AttentionForwardArgs& a) {
  // Whatever it holds, as words.
  const int64_t words = Base().attention_stats_bytes(a.shape) / DTypeSize(DType::kF32);
  n.NoteInScope(s, "attention stats", TensorView::Of(a.stats, DType::kF32, 1, words));
  n.NoteInScope(s, "attention out", a.out);
}
void Outputs(OpNotes& n, Stream& s, const AttentionBackwardArgs& a) {
  n.NoteInScope(s, "attention dq", a.dq);
  n.NoteInScope(s, "attention dk", a.dk);
  n.NoteInScope(s, "attention dv", a.dv);
}
void Outputs(OpNotes& n, Stream& s, const SwiGluForwardArgs& a) {
  n.NoteInScope(s, "swiglu out", a.out);
}
void Outputs(OpNotes& n, Stream& s, const SwiGluBackwardArgs& a) {
  n.NoteInScope(s, "swiglu dgate", a.dgate);
  n.NoteInScope(s, "swiglu dup", a.dup);
}
void Outputs(OpNotes& n, Stream& s, const CrossEntropyArgs& a) {
  n.NoteInScope(s, "cross_entropy loss", TensorView::Of(a.loss, DType::kF32, 1, a.logits.rows));
  if (a.grad == CrossEntropyGrad::kInPlace) n.NoteInScope(s, "cross_entropy dlogits", a.logits);
}
void Outputs(OpNotes& n, Stream& s, const EmbeddingBackwardArgs& a) {
  n.SetScope("backward");
  n.NoteInScope(s, Cat("embedding dW", n.NameOf(a.dtable.data)), a.dtable);
}

template <typename Args, Op<Args> KernelTable::*kOp>
void Noted(Stream& stream, const Args& args) {
  (Base().*kOp)(stream, args);
  if (of_thread->in_slot()) Outputs(*of_thread, stream, args);
}

template <typename Args, Op<Args> KernelTable::*kOp>
void Passed(Stream& stream, const Args& args) {
  (Base().*kOp)(stream, args);
}

}  // namespace

OpNotes::OpNotes(const KernelTable& base, TakeRecord take) : base_(base), take_(std::move(take)) {
  CHECK(of_thread == nullptr);
  of_thread = this;
}

OpNotes::~OpNotes() {
  CHECK(of_thread == this);
  of_thread = nullptr;
}

OpNotes* OpNotes::OfThread() { return of_thread; }

void OpNotes::BeginPass(int64_t step, int64_t pass) { key_ = {.step = step, .pass = pass}; }

void OpNotes::BeginPart(StepPart part, int64_t slot) {
  key_.part = part;
  key_.slot = slot;
  key_.op = 0;
  open_ = true;
}

OpKey OpNotes::Next() {
  CHECK(open_);
  const OpKey key = key_;
  ++key_.op;
  return key;
}

std::string OpNotes::NameOf(const void* data) const {
  const auto found = names_.find(data);
  return found == names_.end() ? "" : " " + found->second;
}

void OpNotes::Note(Stream& stream, const std::string& label, const TensorView& view,
                   int64_t first) {
  OnHost(stream).Run([take = &take_, key = Next(), label, view, first] {
    (*take)({.key = key, .digest = DigestOf(view, first), .label = label});
  });
}

void OpNotes::Note(const std::string& label, uint64_t bits) {
  OpRecord record{.key = Next(), .label = label};
  record.digest.Add(0, bits);
  take_(record);
}

void OpNotes::NoteInScope(Stream& stream, std::string_view label, const TensorView& view) {
  if (view.defined()) Note(stream, Cat(scope_, ": ", label), view);
}

const KernelTable& DigestKernels() {
  using K = KernelTable;
  static const K table = {
      .embedding_forward = Passed<EmbeddingForwardArgs, &K::embedding_forward>,
      .embedding_backward = Noted<EmbeddingBackwardArgs, &K::embedding_backward>,
      .rms_norm_forward = Noted<RmsNormForwardArgs, &K::rms_norm_forward>,
      .rms_norm_backward = Noted<RmsNormBackwardArgs, &K::rms_norm_backward>,
      .matmul = Noted<MatmulArgs, &K::matmul>,
      .rope = Noted<RopeArgs, &K::rope>,
      .attention_forward = Noted<AttentionForwardArgs, &K::attention_forward>,
      .attention_backward = Noted<AttentionBackwardArgs, &K::attention_backward>,
      .swiglu_forward = Noted<SwiGluForwardArgs, &K::swiglu_forward>,
      .swiglu_backward = Noted<SwiGluBackwardArgs, &K::swiglu_backward>,
      .cross_entropy = Noted<CrossEntropyArgs, &K::cross_entropy>,
      .adamw = Passed<AdamWArgs, &K::adamw>,
      .adam_norm = Passed<AdamNormArgs, &K::adam_norm>,
      .squared_norm = Passed<SquaredNormArgs, &K::squared_norm>,
      .add = Passed<AddArgs, &K::add>,
      .copy = Passed<CopyArgs, &K::copy>,
      .fill = Passed<FillArgs, &K::fill>,
      .packed_bytes = [](const PackWeightArgs& args) { return Base().packed_bytes(args); },
      .pack_weight = Passed<PackWeightArgs, &K::pack_weight>,
      .attention_scratch_bytes =
          [](const AttentionShape& shape, int threads) {
            return Base().attention_scratch_bytes(shape, threads);
          },
      .attention_stats_bytes =
          [](const AttentionShape& shape) { return Base().attention_stats_bytes(shape); },
  };
  return table;
}

}  // namespace blockstep
