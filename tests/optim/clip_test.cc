#include "optim/clip.h"

#include <gtest/gtest.h>

#include <limits>

namespace blockstep {
namespace {

TEST(Clip, FactorOfTheNormItself) {
  EXPECT_EQ(ClipFactor(4, 1), 0.25);  // a factor of the square would be 1/16
  EXPECT_EQ(ClipFactor(1, 1), 1);
  EXPECT_EQ(ClipFactor(0.5, 1), 1);
  EXPECT_EQ(ClipFactor(0, 1), 1);
  EXPECT_EQ(ClipFactor(100, 0), 1);
  EXPECT_EQ(ClipFactor(100, -1), 1);
  EXPECT_EQ(ClipFactor(std::numeric_limits<double>::infinity(), 1), 1);
}

}  // namespace
}  // namespace blockstep
