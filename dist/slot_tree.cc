#include "dist/slot_tree.h"

#include <algorithm>

#include "core/base/check.h"

namespace blockstep {
namespace {

SlotNode Sibling(SlotNode n) { return {n.level, n.index ^ 1}; }
SlotNode Parent(SlotNode n) { return {n.level + 1, n.index / 2}; }

// After `nodes` got a new last one: merges it with its left sibling, or lifts it where its right
// one covers no slot, as often as that goes. The number of merges; each took the last node.
int MergeLast(int64_t slots, std::vector<SlotNode>& nodes) {
  const int root = SlotRoot(slots).level;
  int merges = 0;
  while (nodes.back().level < root) {
    const SlotNode top = nodes.back();
    if (top.index % 2 == 1) {
      if (nodes.size() < 2 || !(nodes[nodes.size() - 2] == Sibling(top))) break;
      nodes.pop_back();
      ++merges;
    } else if (!SlotsOf(Sibling(top), slots).empty()) {
      break;
    }
    nodes.back() = Parent(top);
  }
  return merges;
}

}  // namespace

SlotNode SlotRoot(int64_t slots) {
  CHECK_GE(slots, 1);
  int level = 0;
  while ((int64_t{1} << level) < slots) ++level;
  return {level, 0};
}

Range SlotsOf(SlotNode node, int64_t slots) {
  return Intersect({node.index << node.level, (node.index + 1) << node.level}, {0, slots});
}

StackPlan PlanStack(int64_t slots, Range range) {
  StackPlan plan;
  for (int64_t slot = range.begin; slot < range.end; ++slot) {
    StackStep step{.leaf = static_cast<int>(plan.nodes.size())};
    plan.nodes.push_back({0, slot});
    plan.depth = std::max(plan.depth, static_cast<int>(plan.nodes.size()));
    step.merges = MergeLast(slots, plan.nodes);
    plan.steps.push_back(step);
  }
  return plan;
}

TreeMerge MergeNodes(int64_t slots, const std::vector<SlotNode>& nodes) {
  TreeMerge merge;
  for (size_t i = 0; i < nodes.size(); ++i) {
    CHECK(i == 0 || SlotsOf(nodes[i - 1], slots).end == SlotsOf(nodes[i], slots).begin);
    merge.nodes.push_back(nodes[i]);
    merge.places.push_back(static_cast<int>(i));
    for (int merges = MergeLast(slots, merge.nodes); merges > 0; --merges) {
      const int from = merge.places.back();
      merge.places.pop_back();
      merge.adds.push_back({merge.places.back(), from});
    }
  }
  return merge;
}

}  // namespace blockstep
