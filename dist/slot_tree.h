// The fixed binary tree over slot ids that `slot_exact` adds gradients in: pure functions, no data.
// Node (level, index) covers slots [index << level, (index + 1) << level) cut at S; its value is
// left + right, or left where right covers no slot. The shape depends on S alone, so however slots
// are dealt to ranks, the root has the same bits.
#pragma once

#include <cstdint>
#include <vector>

#include "core/base/math.h"

namespace blockstep {

struct SlotNode {
  int level = 0;
  int64_t index = 0;
  friend bool operator==(const SlotNode&, const SlotNode&) = default;
};

SlotNode SlotRoot(int64_t slots);
Range SlotsOf(SlotNode node, int64_t slots);

// What to do when slot `range.begin + i` is finished: its dW is in buffer `leaf` of a stack of
// buffers; then, `merges` times, the top buffer is added to the one below it and freed.
struct StackStep {
  int leaf = 0;
  int merges = 0;
};
struct StackPlan {
  std::vector<StackStep> steps;  // one per slot of the range
  int depth = 0;                 // buffers needed at once
  // What buffers 0, 1, ... hold at the end: the largest nodes whose slots all lie in the range,
  // ascending, which is what a rank can add up by itself.
  std::vector<SlotNode> nodes;
};
StackPlan PlanStack(int64_t slots, Range range);

// How an owner adds up nodes of several ranks: values live in places 0 .. n-1, one per node in slot
// order; each step adds place `from` to place `to`.
struct TreeAdd {
  int to = 0, from = 0;
  friend bool operator==(const TreeAdd&, const TreeAdd&) = default;
};
struct TreeMerge {
  std::vector<TreeAdd> adds;
  // What is left, in slot order: the largest nodes that lie in the slots of all of them, and the
  // place that each one's value ends in. Nodes of every slot leave the root, in place 0.
  std::vector<SlotNode> nodes;
  std::vector<int> places;
};
// `nodes` cover one range of slots without gaps.
TreeMerge MergeNodes(int64_t slots, const std::vector<SlotNode>& nodes);

}  // namespace blockstep
