#include "dist/slot_tree.h"

#include <gtest/gtest.h>

#include <string>

namespace blockstep {
namespace {

// A value that shows how it was added: "((0+1)+2)". The reference recursion of the definition.
std::string Shape(int64_t begin, int64_t width, int64_t slots) {
  if (width == 1) return std::to_string(begin);
  const int64_t half = width / 2;
  const std::string left = Shape(begin, half, slots);
  if (begin + half >= slots) return left;
  return "(" + left + "+" + Shape(begin + half, half, slots) + ")";
}
std::string Whole(int64_t slots) {
  int64_t width = 1;
  while (width < slots) width *= 2;
  return Shape(0, width, slots);
}

void Collect(SlotNode node, int64_t slots, Range range, std::vector<SlotNode>& out) {
  const Range covered = SlotsOf(node, slots);
  const Range inside = Intersect(covered, range);
  if (inside.empty()) return;
  if (inside == covered) {
    out.push_back(node);
    return;
  }
  Collect({node.level - 1, 2 * node.index}, slots, range, out);
  Collect({node.level - 1, 2 * node.index + 1}, slots, range, out);
}

// The largest nodes whose slots all lie in `range`, by their definition.
std::vector<SlotNode> MaximalNodes(int64_t slots, Range range) {
  std::vector<SlotNode> nodes;
  Collect(SlotRoot(slots), slots, range, nodes);
  return nodes;
}

TEST(SlotTree, AnyPartitionGivesTheShapeOfOneRank) {
  for (int64_t slots = 1; slots <= 40; ++slots) {
    for (int64_t ranks = 1; ranks <= 7; ++ranks) {
      std::vector<SlotNode> nodes;
      std::vector<std::string> values;
      for (int64_t r = 0; r < ranks; ++r) {
        const Range mine = SplitEvenly(slots, ranks, r);
        const StackPlan plan = PlanStack(slots, mine);
        ASSERT_EQ(plan.nodes, MaximalNodes(slots, mine)) << slots << " slots, rank " << r;
        std::vector<std::string> stack(plan.depth);
        for (int64_t i = 0; i < mine.size(); ++i) {
          const StackStep& step = plan.steps[i];
          stack.at(step.leaf) = std::to_string(mine.begin + i);
          for (int top = step.leaf; top > step.leaf - step.merges; --top) {
            stack.at(top - 1) = "(" + stack.at(top - 1) + "+" + stack.at(top) + ")";
          }
        }
        nodes.insert(nodes.end(), plan.nodes.begin(), plan.nodes.end());
        values.insert(values.end(), stack.begin(), stack.begin() + plan.nodes.size());
      }
      const TreeMerge merge = MergeNodes(slots, nodes);
      for (const TreeAdd& add : merge.adds) {
        values.at(add.to) = "(" + values.at(add.to) + "+" + values.at(add.from) + ")";
      }
      EXPECT_EQ(values.at(0), Whole(slots)) << slots << " slots on " << ranks << " ranks";
      EXPECT_EQ(merge.nodes, std::vector<SlotNode>{SlotRoot(slots)});
      EXPECT_EQ(merge.places, std::vector<int>{0});
    }
  }
}

// Groups of ranks add up what they have, then one owner what the groups have.
TEST(SlotTree, GroupsOfRanksGiveTheShapeOfOneRank) {
  for (int64_t slots = 1; slots <= 40; ++slots) {
    for (const int64_t groups : {2, 3}) {
      for (const int64_t each : {1, 2, 3}) {
        std::vector<SlotNode> nodes;
        std::vector<std::string> values;
        for (int64_t g = 0; g < groups; ++g) {
          std::vector<SlotNode> mine;
          std::vector<std::string> had;
          Range range{SplitEvenly(slots, groups * each, g * each).begin, 0};
          for (int64_t r = g * each; r < (g + 1) * each; ++r) {
            const Range part = SplitEvenly(slots, groups * each, r);
            range.end = part.end;
            for (const SlotNode& node : PlanStack(slots, part).nodes) {
              mine.push_back(node);
              had.push_back(Shape(node.index << node.level, int64_t{1} << node.level, slots));
            }
          }
          const TreeMerge merge = MergeNodes(slots, mine);
          ASSERT_EQ(merge.nodes, MaximalNodes(slots, range));
          for (const TreeAdd& add : merge.adds) {
            had.at(add.to) = "(" + had.at(add.to) + "+" + had.at(add.from) + ")";
          }
          for (size_t i = 0; i < merge.nodes.size(); ++i) {
            nodes.push_back(merge.nodes[i]);
            values.push_back(had.at(merge.places[i]));
          }
        }
        for (const TreeAdd& add : MergeNodes(slots, nodes).adds) {
          values.at(add.to) = "(" + values.at(add.to) + "+" + values.at(add.from) + ")";
        }
        EXPECT_EQ(values.at(0), Whole(slots));
      }
    }
  }
}

TEST(SlotTree, OneRankNeedsLogBuffers) {
  for (int64_t slots = 1; slots <= 100; ++slots) {
    int log = 0;
    while ((int64_t{1} << log) < slots) ++log;
    EXPECT_LE(PlanStack(slots, {0, slots}).depth, log + 1) << slots;
  }
  EXPECT_EQ(PlanStack(8, {0, 8}).depth, 4);
}

TEST(SlotTree, NodesOfARange) {
  const std::vector<SlotNode> want = {{0, 1}, {1, 1}, {0, 4}};
  EXPECT_EQ(MaximalNodes(8, {1, 5}), want);
  EXPECT_TRUE(MaximalNodes(8, {3, 3}).empty());
  EXPECT_EQ(MaximalNodes(5, {0, 5}), std::vector<SlotNode>{SlotRoot(5)});
}

}  // namespace
}  // namespace blockstep
