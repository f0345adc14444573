#include "dist/slot_tree.h"

#include <algorithm>

#include "core/base/check.h"

namespace blockstep {
namespace {

SlotNode Left(SlotNode n) { return {n.level - 1, 2 * n.index}; }
SlotNode Right(SlotNode n) { return {n.level - 1, 2 * n.index + 1}; }

// Adds up `node` from nodes[next...]; returns the place its value ends in.
int Complete(SlotNode node, int64_t slots, const std::vector<SlotNode>& nodes, size_t& next,
             std::vector<TreeAdd>& adds) {
  CHECK_LT(next, nodes.size());
  if (nodes[next] == node) return static_cast<int>(next++);
  CHECK_GT(node.level, 0);
  const int left = Complete(Left(node), slots, nodes, next, adds);
  if (!SlotsOf(Right(node), slots).empty()) {
    adds.push_back({left, Complete(Right(node), slots, nodes, next, adds)});
  }
  return left;
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
  const int root = SlotRoot(slots).level;
  StackPlan plan;
  std::vector<SlotNode>& stack = plan.nodes;
  for (int64_t slot = range.begin; slot < range.end; ++slot) {
    StackStep step{.leaf = static_cast<int>(stack.size())};
    stack.push_back({0, slot});
    plan.depth = std::max(plan.depth, static_cast<int>(stack.size()));
    for (;;) {
      SlotNode& top = stack.back();
      const SlotNode sibling{top.level, top.index ^ 1};
      if (top.level == root) break;
      if (top.index % 2 == 1) {
        if (stack.size() < 2 || !(stack[stack.size() - 2] == sibling)) break;
        stack.pop_back();
        ++step.merges;
      } else if (!SlotsOf(sibling, slots).empty()) {
        break;
      }
      stack.back() = {sibling.level + 1, sibling.index / 2};
    }
    plan.steps.push_back(step);
  }
  return plan;
}

std::vector<TreeAdd> CompleteTree(int64_t slots, const std::vector<SlotNode>& nodes) {
  std::vector<TreeAdd> adds;
  size_t next = 0;
  CHECK_EQ(Complete(SlotRoot(slots), slots, nodes, next, adds), 0);
  CHECK_EQ(next, nodes.size());
  return adds;
}

}  // namespace blockstep
