#include "dist/unit_store.h"

#include <algorithm>

#include "core/base/check.h"
#include "core/base/status.h"
#include "core/ops/kernel_table.h"
#include "dist/gather_buffer.h"
#include "dist/resident_weights.h"
#include "dist/row_fetch.h"

namespace blockstep {

struct UnitStore::Impl {
  struct UnitState {
    std::vector<int> tensors;   // valid while acquired; the tied head has the embedding's too
    std::vector<int> gathered;  // those of them that are not resident
    bool acquired = false;
    int64_t version = 0;  // publications that touched it
    Event written;        // sharded: owned rows are as published
    Event published;      // resident: all rows are as published
  };

  explicit Impl(UnitStoreOptions options) : o(std::move(options)) {}

  const TensorTable& table() const { return *o.table; }
  bool gathers(int unit) const {
    return table().units[unit].kind != UnitKind::kEmbedding && !units[unit].gathered.empty();
  }
  std::vector<GatherBuffer>& BuffersOf(int unit) {
    return table().units[unit].kind == UnitKind::kHead ? head : layers;
  }
  GatherBuffer* Holding(int unit) {
    for (GatherBuffer& b : BuffersOf(unit)) {
      if (b.unit() == unit) return &b;
    }
    return nullptr;
  }
  // Of all units the tensors of `unit` live in: the tied head's change with the embedding's.
  int64_t Version(int unit) const {
    int64_t sum = 0;
    for (const int t : units[unit].tensors) sum += units[table().tensors[t].unit].version;
    return sum;
  }

  absl::Status Carve(Arena& arena);
  absl::Status CarveBuffers(std::vector<GatherBuffer>& buffers, const char* name, int count,
                            int64_t bytes, Arena& arena);
  void Start(int unit);
  absl::Status PublishRows(const std::vector<ActiveEntry>& entries, Stream& compute);

  UnitStoreOptions o;
  ResidentWeights weights;
  std::vector<UnitState> units;
  std::vector<GatherBuffer> layers, head;
  std::vector<TensorView> current;  // per tensor: Weight() while acquired
  std::unique_ptr<RowFetch> fetch;  // of the embedding, unless it is resident
  int64_t releases = 0;
};

absl::Status UnitStore::Impl::Carve(Arena& arena) {
  const int ranks = o.group.size();
  ASSIGN_OR_RETURN(weights,
                   ResidentWeights::Create(table(), o.pinned, ranks, o.group.rank(), arena));
  current.resize(table().tensors.size());
  units.resize(table().units.size());
  int64_t layer_bytes = 0, head_bytes = 0;
  for (size_t u = 0; u < units.size(); ++u) {
    const UnitInfo& info = table().units[u];
    units[u].tensors = info.tensors;
    if (table().tied && info.kind == UnitKind::kHead) {
      for (const UnitInfo& e : table().units) {
        if (e.kind == UnitKind::kEmbedding) units[u].tensors.push_back(e.tensors[0]);
      }
    }
    for (const int t : units[u].tensors) {
      if (!weights.resident(table().tensors[t].unit)) units[u].gathered.push_back(t);
    }
    const int64_t bytes = GatherBuffer::BytesFor(table(), units[u].gathered);
    if (info.kind == UnitKind::kLayer) layer_bytes = std::max(layer_bytes, bytes);
    if (info.kind == UnitKind::kHead) head_bytes = std::max(head_bytes, bytes);
    if (info.kind == UnitKind::kEmbedding && !weights.resident(static_cast<int>(u))) {
      CHECK_EQ(static_cast<int>(info.tensors.size()), 1);
      ASSIGN_OR_RETURN(fetch, RowFetch::Create(table().tensors[info.tensors[0]], *o.backend,
                                               o.group, o.max_tokens, arena));
    }
  }
  RETURN_IF_ERROR(CarveBuffers(layers, "layer buffer", 2, layer_bytes, arena));
  return CarveBuffers(head, "head buffer", 1, head_bytes, arena);
}

absl::Status UnitStore::Impl::CarveBuffers(std::vector<GatherBuffer>& buffers, const char* name,
                                           int count, int64_t bytes, Arena& arena) {
  for (int i = 0; i < count && bytes > 0; ++i) {
    ASSIGN_OR_RETURN(void* data, arena.Allocate(MemoryClass::kGather, name, bytes));
    buffers.emplace_back(data, bytes);
  }
  return absl::OkStatus();
}

void UnitStore::Impl::Start(int unit) {
  GatherBuffer* buffer = nullptr;  // the empty one that was released first
  for (GatherBuffer& b : BuffersOf(unit)) {
    if (b.state() != GatherBuffer::State::kEmpty) continue;
    if (buffer == nullptr || b.last_release() < buffer->last_release()) buffer = &b;
  }
  CHECK(buffer != nullptr);  // more units of a kind at once than there are buffers
  std::vector<GatherBuffer::Source> sources;
  for (const int t : units[unit].gathered) {
    sources.push_back({t, weights.Owned(t), units[table().tensors[t].unit].written});
  }
  buffer->StartGather(unit, Version(unit), sources, table(), *o.backend, *o.group.data,
                      Cat("gather ", table().units[unit].name));
}

// Entries are whole row ranges; roles are the caller's business.
absl::Status UnitStore::Impl::PublishRows(const std::vector<ActiveEntry>& entries,
                                          Stream& compute) {
  const Event written = compute.Record();
  const int ranks = o.group.size();
  std::vector<GatherSegment> segments;
  for (const ActiveEntry& e : entries) {
    const TensorInfo& t = table().tensors[e.tensor];
    ++units[t.unit].version;
    units[t.unit].written = written;
    if (!weights.resident(t.unit) || ranks == 1) continue;
    GatherSegment segment{.base = weights.Whole(e.tensor).data};
    for (int r = 0; r <= ranks; ++r) {
      const int64_t row = r == ranks ? e.rows.end : OwnedRows(t, ranks, r).begin;
      segment.offsets.push_back(std::clamp(row, e.rows.begin, e.rows.end) * t.row_bytes());
    }
    segments.push_back(std::move(segment));
  }
  if (segments.empty()) return o.group.data->status();
  o.group.data->stream().Wait(written);
  o.group.data->AllGather(std::move(segments), "publish");
  const Event published = o.group.data->stream().Record();
  for (const ActiveEntry& e : entries) {
    units[table().tensors[e.tensor].unit].published = published;
  }
  return o.group.data->status();
}

UnitStore::UnitStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
UnitStore::~UnitStore() = default;

absl::StatusOr<std::unique_ptr<UnitStore>> UnitStore::Create(UnitStoreOptions options,
                                                             Arena& arena) {
  auto impl = std::make_unique<Impl>(std::move(options));
  RETURN_IF_ERROR(impl->Carve(arena));
  return std::unique_ptr<UnitStore>(new UnitStore(std::move(impl)));
}

absl::Status UnitStore::Prefetch(int unit) {
  if (impl_->gathers(unit) && impl_->Holding(unit) == nullptr) impl_->Start(unit);
  return impl_->o.group.data->status();
}

absl::Status UnitStore::Acquire(int unit, Stream& compute) {
  Impl& s = *impl_;
  Impl::UnitState& u = s.units[unit];
  CHECK(!u.acquired);
  u.acquired = true;
  for (const int t : u.tensors) {
    const int home = s.table().tensors[t].unit;
    if (!s.weights.resident(home)) continue;
    TracedWait(compute, s.units[home].published, s.o.tracer, "wait for publish");
    s.current[t] = s.weights.Whole(t);
  }
  if (u.gathered.empty()) return s.o.group.data->status();
  CHECK(s.table().units[unit].kind != UnitKind::kEmbedding);  // its rows are fetched by id
  RETURN_IF_ERROR(Prefetch(unit));
  GatherBuffer& buffer = *s.Holding(unit);
  TracedWait(compute, buffer.Acquire(s.Version(unit)), s.o.tracer, "wait for gather");
  for (size_t i = 0; i < u.gathered.size(); ++i) s.current[u.gathered[i]] = buffer.views()[i];
  return s.o.group.data->status();
}

TensorView UnitStore::Weight(int tensor) const {
  const TensorView view = impl_->current[tensor];
  CHECK(view.defined());  // its unit is not acquired
  return view;
}

absl::Status UnitStore::Release(int unit, Stream& compute) {
  Impl& s = *impl_;
  Impl::UnitState& u = s.units[unit];
  CHECK(u.acquired);
  u.acquired = false;
  for (const int t : u.tensors) {
    bool held = false;  // by another unit: a tied and resident embedding
    for (const Impl::UnitState& other : s.units) {
      held |= other.acquired &&
              std::find(other.tensors.begin(), other.tensors.end(), t) != other.tensors.end();
    }
    if (!held) s.current[t] = {};
  }
  if (!u.gathered.empty()) s.Holding(unit)->Release(compute, *s.o.backend, ++s.releases);
  return s.o.group.data->status();
}

absl::Status UnitStore::GatherRows(int tensor, const int32_t* ids, int64_t n, TensorView out,
                                   Stream& compute) {
  Impl& s = *impl_;
  const int unit = s.table().tensors[tensor].unit;
  CHECK(s.table().units[unit].kind == UnitKind::kEmbedding);
  if (s.fetch != nullptr) {
    CHECK_EQ(n, out.rows);
    s.fetch->Fetch(s.weights.Owned(tensor), out, compute);
  } else {
    TracedWait(compute, s.units[unit].published, s.o.tracer, "wait for publish");
    if (n > 0) {
      s.o.backend->kernels->embedding_forward(
          compute, {.table = s.weights.Whole(tensor), .ids = ids, .out = out});
    }
  }
  return s.o.group.data->status();
}

absl::Status UnitStore::PlanRows(std::span<const RowIds> micro_steps) {
  return impl_->fetch == nullptr ? absl::OkStatus() : impl_->fetch->Plan(micro_steps);
}

TensorView UnitStore::Owned(int tensor) const { return impl_->weights.Owned(tensor); }

Range UnitStore::OwnedRange(int tensor) const {
  return OwnedRows(impl_->table().tensors[tensor], impl_->o.group.size(), impl_->o.group.rank());
}

absl::Status UnitStore::Publish(const ActiveSet& set, Stream& compute) {
  std::vector<ActiveEntry> written = set.entries;
  std::erase_if(written, [](const ActiveEntry& e) { return e.role == Role::kProbe; });
  return impl_->PublishRows(written, compute);
}

absl::Status UnitStore::PublishAll(Stream& compute) {
  std::vector<ActiveEntry> all;
  for (size_t t = 0; t < impl_->table().tensors.size(); ++t) {
    all.push_back(WholeTensor(impl_->table(), static_cast<int>(t)));
  }
  return impl_->PublishRows(all, compute);
}

}  // namespace blockstep
