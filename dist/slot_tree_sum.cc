// numerics: slot_exact. Each micro-step is one slot; its dW is finished alone and added along the
// fixed tree of dist/slot_tree.h. A rank keeps a stack of partial sums, one buffer per node in
// hand. With the last micro-step's Done it sends the owned rows of its nodes to every other owner
// (one exchange per entry); the owner completes the tree on the comm stream while backward goes on,
// and leaves the root in its own rows of the stack's first buffer. Staging for received rows is
// shared by all entries: the comm stream's order guards it.
#include <algorithm>

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
  TensorView OwnRows(int entry, int buffer) const {
    const Range rows = (*entries_)[entry].owned[o_.data->rank()];
    return stacks_[entry][buffer].Rows(rows.begin, rows.end);
  }
  void SendToOwners(int entry);
  void CompleteOwnRows(int entry);
  // Where node `place` of all ranks' nodes lies, cut to this rank's rows of the entry.
  TensorView Place(int entry, int place) const;

  const GradReducerOptions o_;
  StackPlan mine_;
  int depth_ = 0;               // the largest of all ranks
  std::vector<int> node_rank_;  // per node of all ranks, in slot order
  std::vector<SlotNode> nodes_;
  int first_mine_ = 0;        // place of this rank's first node
  int64_t staged_nodes_ = 0;  // the most that any rank receives
  std::vector<TreeAdd> adds_;

  const std::vector<EntryGeometry>* entries_ = nullptr;
  std::vector<std::vector<TensorView>> stacks_;  // [entry][buffer]
  char* staging_ = nullptr;
};

SlotTreeSum::SlotTreeSum(const GradReducerOptions& options, const SlotSpan& span) : o_(options) {
  const int ranks = o_.data->size();
  std::vector<int64_t> count(ranks);
  for (int r = 0; r < ranks; ++r) {
    const StackPlan plan = PlanStack(span.slots, SplitEvenly(span.slots, ranks, r));
    depth_ = std::max(depth_, plan.depth);
    count[r] = static_cast<int64_t>(plan.nodes.size());
    if (r == o_.data->rank()) {
      mine_ = plan;
      first_mine_ = static_cast<int>(nodes_.size());
    }
    nodes_.insert(nodes_.end(), plan.nodes.begin(), plan.nodes.end());
    node_rank_.insert(node_rank_.end(), plan.nodes.size(), r);
  }
  staged_nodes_ =
      static_cast<int64_t>(nodes_.size()) - *std::min_element(count.begin(), count.end());
  adds_ = CompleteTree(span.slots, nodes_);
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
  if (staged_nodes_ == 0 || largest == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(void* data, arena.Allocate(MemoryClass::kCommunication, "slot tree staging",
                                              largest * staged_nodes_));
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
  if (!micro.last || o_.data->size() == 1) return;
  o_.data->stream().Wait(compute.Record());
  SendToOwners(entry);
  CompleteOwnRows(entry);
}

TensorView SlotTreeSum::Place(int entry, int place) const {
  const int mine = place - first_mine_;
  if (node_rank_[place] == o_.data->rank()) return OwnRows(entry, mine);
  const int64_t staged = mine < 0 ? place : place - static_cast<int64_t>(mine_.nodes.size());
  const TensorView own = OwnRows(entry, 0);
  return TensorView::Of(staging_ + staged * own.bytes(), DType::kF32, own.rows, own.cols);
}

void SlotTreeSum::SendToOwners(int entry) {
  const EntryGeometry& e = (*entries_)[entry];
  const int rank = o_.data->rank();
  std::vector<PeerSend> sends;
  std::vector<PeerRecv> recvs;
  for (int r = 0; r < o_.data->size(); ++r) {
    if (r == rank || e.owned[r].empty()) continue;
    for (size_t node = 0; node < mine_.nodes.size(); ++node) {
      const TensorView rows = stacks_[entry][node].Rows(e.owned[r].begin, e.owned[r].end);
      sends.push_back({r, rows.data, rows.bytes()});
    }
  }
  for (int place = 0; place < static_cast<int>(nodes_.size()); ++place) {
    if (node_rank_[place] == rank || e.owned[rank].empty()) continue;
    const TensorView rows = Place(entry, place);
    recvs.push_back({node_rank_[place], rows.data, rows.bytes()});
  }
  o_.data->Exchange(std::move(sends), std::move(recvs), "reduce " + e.name);
}

void SlotTreeSum::CompleteOwnRows(int entry) {
  if ((*entries_)[entry].owned[o_.data->rank()].empty()) return;
  Stream& comm = o_.data->stream();
  for (const TreeAdd& add : adds_) {
    o_.backend->kernels->add(comm, {.src = Place(entry, add.from), .dst = Place(entry, add.to)});
  }
  const TensorView root = Place(entry, 0), result = OwnRows(entry, 0);
  if (root.data != result.data) {
    o_.backend->kernels->copy(comm, {.src = root, .dst = result});
  }
}

}  // namespace

std::unique_ptr<GradStrategy> NewSlotTreeSum(const GradReducerOptions& options,
                                             const SlotSpan& span) {
  return std::make_unique<SlotTreeSum>(options, span);
}

}  // namespace blockstep
