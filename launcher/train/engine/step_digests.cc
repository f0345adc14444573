#include "launcher/train/engine/step_digests.h"

#include <bit>
#include <optional>

#include "core/base/sha256.h"
#include "core/base/status.h"

namespace blockstep {
namespace {

constexpr int64_t kPlacesOfUpdate = 16;  // more than a rule has states

std::string NameOf(const TensorTable& table, const ActiveEntry& entry) {
  const TensorInfo& tensor = table.tensors[entry.tensor];
  if (entry.rows.size() == tensor.rows) return tensor.name;
  return Cat(tensor.name, " rows [", entry.rows.begin, ", ", entry.rows.end, ")");
}

// Weights as they arrive, whole units at a time, and the embedding's rows.
class NotedUnits : public UnitSource {
 public:
  NotedUnits(OpNotes& notes, const TensorTable& table, UnitSource& units)
      : notes_(notes), table_(table), units_(units) {}

  absl::Status Prefetch(int unit) override { return units_.Prefetch(unit); }
  absl::Status Acquire(int unit, Stream& compute) override {
    RETURN_IF_ERROR(units_.Acquire(unit, compute));
    const UnitInfo& info = table_.units[unit];
    for (const int t : info.tensors) NoteWeight(t, compute);
    if (table_.tied && info.kind == UnitKind::kHead) NoteWeight(kEmbedding, compute);
    return absl::OkStatus();
  }
  TensorView Weight(int tensor) const override {
    const TensorView weight = units_.Weight(tensor);
    notes_.Name(weight.data, table_.tensors[tensor].name);
    return weight;
  }
  absl::Status Release(int unit, Stream& compute) override { return units_.Release(unit, compute); }
  absl::Status GatherRows(int tensor, const int32_t* ids, int64_t n, TensorView out,
                          Stream& compute) override {
    RETURN_IF_ERROR(units_.GatherRows(tensor, ids, n, out, compute));
    notes_.Note(compute, Cat("forward: rows of ", table_.tensors[tensor].name), out.Rows(0, n));
    return absl::OkStatus();
  }

 private:
  static constexpr int kEmbedding = 0;  // the table's first tensor
  void NoteWeight(int tensor, Stream& compute) {
    notes_.Note(compute, Cat("weights of ", table_.tensors[tensor].name, " as gathered"),
                units_.Weight(tensor));
  }
  OpNotes& notes_;
  const TensorTable& table_;
  UnitSource& units_;
};

class NamedSink : public GradSink {
 public:
  NamedSink(OpNotes& notes, const TensorTable& table, const ActiveSet& set, GradSink& sink)
      : notes_(notes), table_(table), set_(set), sink_(sink) {}
  GradTarget Target(int entry) override {
    const GradTarget target = sink_.Target(entry);
    notes_.Name(target.dw.data, NameOf(table_, set_.entries[entry]));
    return target;
  }
  absl::Status Done(int entry, Stream& compute) override { return sink_.Done(entry, compute); }

 private:
  OpNotes& notes_;
  const TensorTable& table_;
  const ActiveSet& set_;
  GradSink& sink_;
};

}  // namespace

struct StepDigests::Impl {
  Impl(const Backend& base, std::unique_ptr<OpDigestFile> to, int rank)
      : file(std::move(to)), notes(*base.kernels, *file), backend(base), first(rank == 0) {
    backend.kernels = &DigestKernels();
  }
  std::unique_ptr<OpDigestFile> file;
  OpNotes notes;
  Backend backend;
  const bool first;  // what all ranks have alike is noted by one
  int64_t step = -1, pass = 0;
  const TensorTable* table = nullptr;
  ActiveSet set;
  std::optional<NotedUnits> units;
  std::optional<NamedSink> sink;
};

StepDigests::StepDigests(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
StepDigests::~StepDigests() = default;

absl::StatusOr<std::unique_ptr<StepDigests>> StepDigests::Create(const Backend& base,
                                                                 const std::string& path,
                                                                 int rank) {
  if (!base.device.host_accessible) {
    return FailedPrecondition("runtime.digests: expected a backend with host-readable memory, got ",
                              base.name, " computes where the host cannot read");
  }
  ASSIGN_OR_RETURN(std::unique_ptr<OpDigestFile> file, OpDigestFile::Create(path));
  return std::unique_ptr<StepDigests>(
      new StepDigests(std::make_unique<Impl>(base, std::move(file), rank)));
}

const Backend& StepDigests::backend() const { return impl_->backend; }

void StepDigests::BeginPass(int64_t step, const ActiveSet& set, const TensorTable& table) {
  Impl& s = *impl_;
  s.pass = step == s.step ? s.pass + 1 : 0;
  s.step = step;
  s.set = set;
  s.table = &table;
  s.notes.BeginPass(step, s.pass);
  s.notes.BeginStage(OpStage::kSet);
  if (s.first) s.notes.Note("active set", Hash64(set.Text()));
  s.notes.EndStage();
}

void StepDigests::BeginSlot(int64_t position, UnitSource& units, GradSink& sink) {
  Impl& s = *impl_;
  s.notes.BeginStage(OpStage::kSlot, position);
  s.units.emplace(s.notes, *s.table, units);
  s.sink.emplace(s.notes, *s.table, s.set, sink);
}

void StepDigests::EndSlot() { impl_->notes.EndStage(); }
UnitSource& StepDigests::units() { return *impl_->units; }
GradSink& StepDigests::sink() { return *impl_->sink; }

void StepDigests::Gradients(const GradReducer& reducer, Stream& compute) {
  Impl& s = *impl_;
  s.notes.BeginStage(OpStage::kReduced);
  for (int i = 0; i < static_cast<int>(s.set.entries.size()); ++i) {
    const TensorView rows = reducer.Reduced(i);
    s.notes.Note(compute, Cat("gradient of ", NameOf(*s.table, s.set.entries[i]), ", all slots"),
                 rows, reducer.ReducedRows(i).begin * rows.cols);
  }
  s.notes.EndStage();
}

void StepDigests::Agreed(const ExchangeResult& agreed) {
  Impl& s = *impl_;
  if (!s.first) return;
  s.notes.BeginStage(OpStage::kAgreed);
  s.notes.Note("loss of all slots", std::bit_cast<uint64_t>(agreed.loss.ToDouble()));
  s.notes.Note("counted tokens", static_cast<uint64_t>(agreed.tokens));
  for (size_t i = 0; i < s.set.entries.size(); ++i) {
    s.notes.Note(Cat("squared norm of the gradient of ", NameOf(*s.table, s.set.entries[i])),
                 std::bit_cast<uint64_t>(agreed.norms[i].ToDouble()));
  }
  s.notes.EndStage();
}

void StepDigests::BeginUpdates(float grad_scale, double learning_rate) {
  Impl& s = *impl_;
  s.notes.BeginStage(OpStage::kUpdate);
  if (!s.first) return;
  s.notes.Note("scale of gradients", std::bit_cast<uint32_t>(grad_scale));
  s.notes.Note("learning rate", std::bit_cast<uint64_t>(learning_rate));
}

void StepDigests::Updated(int entry, const EntryState& state, const TensorView& param,
                          Stream& compute) {
  Impl& s = *impl_;
  s.notes.SetPlace((entry + 1) * kPlacesOfUpdate);  // a rank skips entries that it has no row of
  const std::string name = NameOf(*s.table, state.entry);
  for (size_t i = 0; i < state.specs.size(); ++i) {
    if (state.specs[i].layout != StateLayout::kLikeTensor) continue;
    s.notes.Note(compute, Cat("update: ", state.specs[i].name, " of ", name), state.tensors[i],
                 state.rows.begin * state.tensors[i].cols);
  }
  s.notes.Note(compute, Cat("update: weights of ", name), param, state.rows.begin * param.cols);
}

absl::Status StepDigests::EndStep(Stream& compute) {
  impl_->notes.EndStage();
  RETURN_IF_ERROR(compute.Synchronize());
  return impl_->file->Flush();
}

}  // namespace blockstep
