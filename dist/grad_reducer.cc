#include "dist/grad_reducer.h"

#include <algorithm>

#include "core/base/check.h"
#include "core/base/status.h"
#include "dist/grad_strategy.h"

namespace blockstep {

struct GradReducer::Impl {
  GradReducerOptions o;
  SlotSpan span;
  std::unique_ptr<GradStrategy> strategy;
  std::vector<EntryGeometry> entries;
  std::vector<char> done;  // in this micro-step
  MicroStepPosition micro;

  absl::StatusOr<EntryGeometry> Geometry(const ActiveEntry& entry) const;
};

absl::StatusOr<EntryGeometry> GradReducer::Impl::Geometry(const ActiveEntry& entry) const {
  const TensorInfo& t = o.table->tensors[entry.tensor];
  if (entry.role == Role::kFused) {
    return OnRank(Unimplemented(t.name,
                                ": expected role train or probe, got fused, which this "
                                "reducer does not support"),
                  {.rank = o.data->rank(), .ranks = o.data->size()});
  }
  EntryGeometry g{.entry = entry,
                  .name = t.name,
                  .unit = t.unit,
                  .kind = o.table->units[t.unit].kind,
                  .cols = t.cols};
  for (int r = 0; r < o.data->size(); ++r) {
    const Range rows = OwnedRows(t, o.data->size(), r);
    g.owned.push_back({std::clamp(rows.begin, entry.rows.begin, entry.rows.end) - entry.rows.begin,
                       std::clamp(rows.end, entry.rows.begin, entry.rows.end) - entry.rows.begin});
  }
  return g;
}

GradReducer::GradReducer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GradReducer::~GradReducer() = default;

absl::StatusOr<std::unique_ptr<GradReducer>> GradReducer::Create(GradReducerOptions options,
                                                                 SlotSpan span) {
  const bool exact = options.numerics == Numerics::kSlotExact;
  const int shards = options.data->size();
  const int groups = options.across == nullptr ? 1 : options.across->size();
  const int group = options.across == nullptr ? 0 : options.across->rank();
  const int ranks = groups * shards, rank = group * shards + options.data->rank();
  if (exact && options.accumulation == GradAccumulation::kSharded) {
    return InvalidArgument(
        "numerics slot_exact: expected accumulate local (a rank adds its own slots in a tree), got "
        "sharded");
  }
  if (exact && !(span.mine == SplitEvenly(span.slots, ranks, rank))) {
    return InvalidArgument("numerics slot_exact: rank ", options.data->rank(),
                           ": expected an even split of ", span.slots, " slots over ", ranks,
                           " ranks, got slots [", span.mine.begin, ", ", span.mine.end, ")");
  }
  auto impl = std::make_unique<Impl>();
  impl->o = options;
  impl->span = span;
  // Alone, a rank owns every row: the sharded sum would be a copy of the local one.
  if (exact) {
    impl->strategy = NewSlotTreeSum(options, span);
  } else if (options.accumulation == GradAccumulation::kSharded && shards > 1) {
    impl->strategy = NewShardedSum(options);
  } else {
    impl->strategy = NewLocalSum(options);
  }
  return std::unique_ptr<GradReducer>(new GradReducer(std::move(impl)));
}

absl::Status GradReducer::BeginPhase(const ActiveSet& set, Arena& arena) {
  impl_->entries.clear();
  impl_->micro = {};
  for (const ActiveEntry& entry : set.entries) {
    ASSIGN_OR_RETURN(EntryGeometry geometry, impl_->Geometry(entry));
    impl_->entries.push_back(std::move(geometry));
  }
  impl_->done.assign(set.entries.size(), 1);
  return impl_->strategy->Carve(impl_->entries, arena);
}

void GradReducer::BeginMicroStep(int64_t micro_step, int64_t slots_inside) {
  CHECK(std::all_of(impl_->done.begin(), impl_->done.end(), [](char d) { return d; }));
  CHECK_LE(0, micro_step);
  CHECK_LT(micro_step, impl_->span.micro_steps);
  if (impl_->o.numerics == Numerics::kSlotExact) {
    CHECK_EQ(slots_inside, micro_step < impl_->span.mine.size() ? 1 : 0);
  }
  impl_->micro = {.index = micro_step,
                  .first = micro_step == 0,
                  .last = micro_step == impl_->span.micro_steps - 1,
                  .wrote = slots_inside > 0};
  impl_->done.assign(impl_->entries.size(), 0);
}

GradTarget GradReducer::Target(int entry) {
  CHECK(!impl_->done[entry]);
  return impl_->strategy->Target(entry, impl_->micro);
}

absl::Status GradReducer::Done(int entry, Stream& compute) {
  CHECK(!impl_->done[entry]);
  impl_->done[entry] = 1;
  impl_->strategy->Done(entry, impl_->micro, compute);
  return impl_->o.data->status();
}

absl::Status GradReducer::Finish(Stream& compute) {
  CHECK(impl_->entries.empty() || impl_->micro.last);
  CHECK(std::all_of(impl_->done.begin(), impl_->done.end(), [](char d) { return d; }));
  TracedWait(compute, impl_->o.data->stream().Record(), impl_->o.tracer, "wait for reductions");
  return impl_->o.data->status();
}

TensorView GradReducer::Reduced(int entry) const { return impl_->strategy->Reduced(entry); }

Range GradReducer::ReducedRows(int entry) const {
  const EntryGeometry& e = impl_->entries[entry];
  const Range own = e.owned[impl_->o.data->rank()];
  return {e.entry.rows.begin + own.begin, e.entry.rows.begin + own.end};
}

}  // namespace blockstep
