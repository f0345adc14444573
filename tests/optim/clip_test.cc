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

TEST(Clip, ScaleIsMeanThenClip) {
  // Stored gradient has norm 8 and stands for sum/4; over 16 tokens the mean's norm is 2.
  const GradScaleArgs args{.squared_norm = 64, .loss_divisor = 4, .tokens = 16, .max_norm = 0};
  EXPECT_EQ(CombineGradScale(args).norm, 2);
  EXPECT_EQ(CombineGradScale(args).factor, 0.25f);
  GradScaleArgs clipped = args;
  clipped.max_norm = 0.5;
  EXPECT_EQ(CombineGradScale(clipped).norm, 2);
  EXPECT_EQ(CombineGradScale(clipped).factor, 0.0625f);
  clipped.max_norm = 2;
  EXPECT_EQ(CombineGradScale(clipped).factor, 0.25f);
}

TEST(Clip, NoTokens) {
  const GradScale scale = CombineGradScale({.squared_norm = 0, .tokens = 0, .max_norm = 1});
  EXPECT_EQ(scale.factor, 0);
  EXPECT_EQ(scale.norm, 0);
}

}  // namespace
}  // namespace blockstep
