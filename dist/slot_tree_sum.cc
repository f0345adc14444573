// numerics: slot_exact. Each micro-step is one slot; its dW is finished alone and added along the
// fixed tree of dist/slot_tree.h. A rank keeps a stack of partial sums, one buffer per node in
// hand. With the last micro-step's Done it sends the owned rows of its nodes to every other owner
// of its group (one exchange per entry); the owner adds up what the group has and, where there are
// several groups, exchanges that with the owners of the same rows and completes the tree: all on
// the data stream while backward goes on. The root is left in its own rows of the stack's first
// buffer. Staging for received rows is shared by all entries: the stream's order guards it.
#include <algorithm>
#include <functional>

#include "core/base/check.h"
#include "core/base/status.h"
#include "dist/grad_strategy.h"
#include "dist/slot_tree.h"

namespace blockstep {
namespace {

class SlotTreeSum : public GradStrategy {
 public:
  SlotTreeSum(const GradReducerOptions& options, const SlotSpan& span);

  absl::Status Carve(const std::vector<EntryGeometry>& entries, Arena& arena) override;
  GradTarget Target(int entry, const MicroStepPosition& micro) override;
  void Done(int entry, const MicroStepPosition& micro, Stream& compute) override;
  TensorView Reduced(int entry) const override { return OwnRows(entry, 0); }

 private:
  // Nodes of one round of adding up: of the ranks of a group, then of the groups.
  struct Round {
    Round() = default;
    // Of `me` among the holders, whose nodes follow each other in slot order.
    Round(int64_t slots, const std::vector<std::vector<SlotNode>>& by_holder, int me);

    std::vector<int> holder;  // per place
    int first_mine = 0, mine = 0;
    TreeMerge merge;
    int64_t staged() const { return static_cast<int64_t>(holder.size()) - mine; }
    bool is_mine(int place) const { return place >= first_mine && place < first_mine + mine; }
    // Among what the others sent.
    int64_t Staged(int place) const { return place < first_mine ? place : place - mine; }
  };

  TensorView OwnRows(int entry, int buffer) const {
    const Range rows = (*entries_)[entry].owned[o_.data->rank()];
    return stacks_[entry][buffer].Rows(rows.begin, rows.end);
  }
  TensorView StagedRows(int entry, int64_t staged) const {
    const TensorView own = OwnRows(entry, 0);
    return TensorView::Of(staging_ + staged * own.bytes(), DType::kF32, own.rows, own.cols);
  }
  // Where a place of either round lies, cut to this rank's rows of the entry.
  TensorView InsidePlace(int entry, int place) const;
  TensorView AcrossPlace(int entry, int place) const;
  void SendToOwners(int entry);
  void SendAcross(int entry);
  void Add(const TreeMerge& merge, const std::function<TensorView(int place)>& at);

  const GradReducerOptions o_;
  StackPlan mine_;
  int depth_ = 0;  // the largest of all ranks
  Round inside_, across_;
  // The most that any rank of any group receives in either round.
  int64_t staged_inside_ = 0, staged_across_ = 0;

  const std::vector<EntryGeometry>* entries_ = nullptr;
  std::vector<std::vector<TensorView>> stacks_;  // [entry][buffer]
  char* staging_ = nullptr;
};

SlotTreeSum::Round::Round(int64_t slots, const std::vector<std::vector<SlotNode>>& by_holder,
                          int me) {
  std::vector<SlotNode> nodes;
  for (int h = 0; h < static_cast<int>(by_holder.size()); ++h) {
    if (h == me) {
      first_mine = static_cast<int>(nodes.size());
      mine = static_cast<int>(by_holder[h].size());
    }
    nodes.insert(nodes.end(), by_holder[h].begin(), by_holder[h].end());
    holder.insert(holder.end(), by_holder[h].size(), h);
  }
  merge = MergeNodes(slots, nodes);
}

SlotTreeSum::SlotTreeSum(const GradReducerOptions& options, const SlotSpan& span) : o_(options) {
  const int shards = o_.data->size(), shard = o_.data->rank();
  const int groups = o_.across == nullptr ? 1 : o_.across->size();
  const int group = o_.across == nullptr ? 0 : o_.across->rank();
  std::vector<std::vector<SlotNode>> left;  // per group, once its ranks' nodes are added up
  for (int g = 0; g < groups; ++g) {
    std::vector<std::vector<SlotNode>> ranks;
    for (int s = 0; s < shards; ++s) {
      const Range slots = SplitEvenly(span.slots, groups * shards, g * shards + s);
      const StackPlan plan = PlanStack(span.slots, slots);
      depth_ = std::max(depth_, plan.depth);
      ranks.push_back(plan.nodes);
      if (g == group && s == shard) mine_ = plan;
    }
    for (int s = 0; s < shards; ++s) {
      const Round round(span.slots, ranks, s);
      staged_inside_ = std::max(staged_inside_, round.staged());
      if (s == 0) left.push_back(round.merge.nodes);
      if (g == group && s == shard) inside_ = round;
    }
  }
  for (int g = 0; g < groups; ++g) {
    const Round round(span.slots, left, g);
    staged_across_ = std::max(staged_across_, round.staged());
    if (g == group) across_ = round;
  }
}

absl::Status SlotTreeSum::Carve(const std::vector<EntryGeometry>& entries, Arena& arena) {
  entries_ = &entries;
  stacks_.assign(entries.size(), {});
  int64_t largest = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    const EntryGeometry& e = entries[i];
    for (int d = 0; d < depth_; ++d) {
      const MemoryClass cls = d == 0 ? e.memory_class() : MemoryClass::kSlotProbe;
      ASSIGN_OR_RETURN(void* data, arena.Allocate(cls, Cat("dW ", d, " ", e.name), e.bytes()));
      stacks_[i].push_back(e.ViewAt(data));
    }
    for (int r = 0; r < o_.data->size(); ++r) largest = std::max(largest, e.owned_bytes(r));
  }
  const int64_t staged = staged_inside_ + staged_across_;
  if (staged == 0 || largest == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(void* data, arena.Allocate(MemoryClass::kCommunication, "slot tree staging",
                                              largest * staged));
  staging_ = static_cast<char*>(data);
  return absl::OkStatus();
}

GradTarget SlotTreeSum::Target(int entry, const MicroStepPosition& micro) {
  const int leaf = micro.wrote ? mine_.steps[micro.index].leaf : 0;
  return {stacks_[entry][leaf], Accumulate::kAssign};
}

void SlotTreeSum::Done(int entry, const MicroStepPosition& micro, Stream& compute) {
  if (micro.wrote) {
    const StackStep& step = mine_.steps[micro.index];
    for (int top = step.leaf; top > step.leaf - step.merges; --top) {
      o_.backend->kernels->add(compute,
                               {.src = stacks_[entry][top], .dst = stacks_[entry][top - 1]});
    }
  }
  if (!micro.last || (o_.data->size() == 1 && o_.across == nullptr)) return;
  o_.data->stream().Wait(compute.Record());
  SendToOwners(entry);
  if (OwnRows(entry, 0).size() == 0) return;
  Add(inside_.merge, [&](int place) { return InsidePlace(entry, place); });
  if (o_.across != nullptr) {
    SendAcross(entry);
    Add(across_.merge, [&](int place) { return AcrossPlace(entry, place); });
  }
  const TensorView root = AcrossPlace(entry, 0), result = OwnRows(entry, 0);
  if (root.data != result.data) {
    o_.backend->kernels->copy(o_.data->stream(), {.src = root, .dst = result});
  }
}

TensorView SlotTreeSum::InsidePlace(int entry, int place) const {
  if (inside_.is_mine(place)) return OwnRows(entry, place - inside_.first_mine);
  return StagedRows(entry, inside_.Staged(place));
}

TensorView SlotTreeSum::AcrossPlace(int entry, int place) const {
  if (across_.is_mine(place)) {
    return InsidePlace(entry, inside_.merge.places[place - across_.first_mine]);
  }
  return StagedRows(entry, staged_inside_ + across_.Staged(place));
}

void SlotTreeSum::SendToOwners(int entry) {
  const EntryGeometry& e = (*entries_)[entry];
  const int rank = o_.data->rank();
  std::vector<PeerSend> sends;
  std::vector<PeerRecv> recvs;
  for (int r = 0; r < o_.data->size(); ++r) {
    if (r == rank || e.owned[r].empty()) continue;
    for (int node = 0; node < inside_.mine; ++node) {
      const TensorView rows = stacks_[entry][node].Rows(e.owned[r].begin, e.owned[r].end);
      sends.push_back({r, rows.data, rows.bytes()});
    }
  }
  for (int place = 0; place < static_cast<int>(inside_.holder.size()); ++place) {
    if (inside_.is_mine(place) || e.owned[rank].empty()) continue;
    const TensorView rows = InsidePlace(entry, place);
    recvs.push_back({inside_.holder[place], rows.data, rows.bytes()});
  }
  o_.data->Exchange(std::move(sends), std::move(recvs), "reduce " + e.name);
}

void SlotTreeSum::SendAcross(int entry) {
  std::vector<PeerSend> sends;
  std::vector<PeerRecv> recvs;
  for (int place = 0; place < static_cast<int>(across_.holder.size()); ++place) {
    const TensorView rows = AcrossPlace(entry, place);
    if (!across_.is_mine(place)) {
      recvs.push_back({across_.holder[place], rows.data, rows.bytes()});
      continue;
    }
    for (int g = 0; g < o_.across->size(); ++g) {
      if (g != o_.across->rank()) sends.push_back({g, rows.data, rows.bytes()});
    }
  }
  o_.across->Exchange(std::move(sends), std::move(recvs),
                      "reduce across groups " + (*entries_)[entry].name);
}

void SlotTreeSum::Add(const TreeMerge& merge, const std::function<TensorView(int place)>& at) {
  for (const TreeAdd& add : merge.adds) {
    o_.backend->kernels->add(o_.data->stream(), {.src = at(add.from), .dst = at(add.to)});
  }
}

}  // namespace

std::unique_ptr<GradStrategy> NewSlotTreeSum(const GradReducerOptions& options,
                                             const SlotSpan& span) {
  return std::make_unique<SlotTreeSum>(options, span);
}

}  // namespace blockstep
