#include "launcher/train/engine/step_digests.h"

#include <bit>
#include <fstream>
#include <mutex>
#include <optional>

#include "core/base/sha256.h"
#include "core/base/status.h"
#include "core/ops/digest_kernels.h"

namespace blockstep {
namespace {

constexpr int64_t kOpsOfEntry = 16;  // more than a rule has states

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

// Replaces what is there.
class DigestFile {
 public:
  explicit DigestFile(const std::string& path) : path_(path), out_(path, std::ios::trunc) {}
  void Add(const OpRecord& record) {  // from any thread
    const std::string line = OpRecordLine(record);
    std::lock_guard lock(mutex_);
    out_ << line;
  }
  absl::Status Flush() {
    std::lock_guard lock(mutex_);
    out_.flush();
    if (!out_) return ResourceExhausted(path_, ": cannot be written");
    return absl::OkStatus();
  }

 private:
  const std::string path_;
  std::mutex mutex_;
  std::ofstream out_;
};

}  // namespace

struct StepDigests::Impl {
  Impl(const Backend& base, const std::string& path, int rank)
      : file(path),
        notes(*base.kernels, [this](const OpRecord& record) { file.Add(record); }),
        backend(base),
        first(rank == 0) {
    backend.kernels = &DigestKernels();
  }
  DigestFile file;
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
  auto impl = std::make_unique<Impl>(base, path, rank);
  RETURN_IF_ERROR(impl->file.Flush());
  return std::unique_ptr<StepDigests>(new StepDigests(std::move(impl)));
}

const Backend& StepDigests::backend() const { return impl_->backend; }

void StepDigests::BeginPass(int64_t step, const ActiveSet& set, const TensorTable& table) {
  Impl& s = *impl_;
  s.pass = step == s.step ? s.pass + 1 : 0;
  s.step = step;
  s.set = set;
  s.table = &table;
  s.notes.BeginPass(step, s.pass);
  s.notes.BeginPart(StepPart::kSet);
  if (s.first) s.notes.Note("active set", Hash64(set.Text()));
  s.notes.EndPart();
}

ModelPorts StepDigests::BeginSlots(int64_t position, int64_t slots, const ModelPorts& ports) {
  if (slots == 0) return ports;
  Impl& s = *impl_;
  s.notes.BeginPart(StepPart::kSlot, position);
  s.units.emplace(s.notes, *s.table, *ports.units);
  s.sink.emplace(s.notes, *s.table, s.set, *ports.sink);
  return {&*s.units, &*s.sink};
}

void StepDigests::EndSlots() { impl_->notes.EndPart(); }

void StepDigests::Gradients(const GradReducer& reducer, Stream& compute) {
  Impl& s = *impl_;
  s.notes.BeginPart(StepPart::kReduced);
  for (int i = 0; i < static_cast<int>(s.set.entries.size()); ++i) {
    const TensorView rows = reducer.Reduced(i);
    s.notes.Note(compute, Cat("gradient of ", NameOf(*s.table, s.set.entries[i]), ", all slots"),
                 rows, reducer.ReducedRows(i).begin * rows.cols);
  }
  s.notes.EndPart();
}

void StepDigests::Agreed(const ExchangeResult& agreed) {
  Impl& s = *impl_;
  if (!s.first) return;
  s.notes.BeginPart(StepPart::kAgreed);
  s.notes.Note("loss of all slots", std::bit_cast<uint64_t>(agreed.loss.ToDouble()));
  s.notes.Note("counted tokens", static_cast<uint64_t>(agreed.tokens));
  for (size_t i = 0; i < s.set.entries.size(); ++i) {
    s.notes.Note(Cat("squared norm of the gradient of ", NameOf(*s.table, s.set.entries[i])),
                 std::bit_cast<uint64_t>(agreed.norms[i].ToDouble()));
  }
  s.notes.EndPart();
}

void StepDigests::BeginUpdates(float grad_scale, double learning_rate) {
  Impl& s = *impl_;
  s.notes.BeginPart(StepPart::kUpdate);
  if (!s.first) return;
  s.notes.Note("scale of gradients", std::bit_cast<uint32_t>(grad_scale));
  s.notes.Note("learning rate", std::bit_cast<uint64_t>(learning_rate));
}

void StepDigests::Updated(int entry, const EntryState& state, const TensorView& param,
                          Stream& compute) {
  Impl& s = *impl_;
  s.notes.SetOp((entry + 1) * kOpsOfEntry);  // a rank skips entries that it has no row of
  const std::string name = NameOf(*s.table, state.entry);
  for (size_t i = 0; i < state.specs.size(); ++i) {
    if (state.specs[i].layout != StateLayout::kLikeTensor) continue;
    s.notes.Note(compute, Cat("update: ", state.specs[i].name, " of ", name), state.tensors[i],
                 state.rows.begin * state.tensors[i].cols);
  }
  s.notes.Note(compute, Cat("update: weights of ", name), param, state.rows.begin * param.cols);
}

absl::Status StepDigests::EndStep(Stream& compute) {
  impl_->notes.EndPart();
  RETURN_IF_ERROR(compute.Synchronize());
  return impl_->file.Flush();
}

}  // namespace blockstep
