#include "optim/policy/state_text.h"

#include <gtest/gtest.h>

#include <limits>

namespace blockstep {
namespace {

TEST(StateText, NumbersComeBackExactly) {
  using Limits = std::numeric_limits<double>;
  const std::vector<double> doubles = {0.1, -1.0 / 3, 0, 4e-9, Limits::max(), Limits::denorm_min()};
  const std::vector<int64_t> ints = {0, -1, INT64_MAX, INT64_MIN};
  StateWriter writer("p");
  writer.Doubles("d", doubles);
  writer.Ints("i", ints);
  writer.Ints("none", {});
  const auto reader = StateReader::Parse(writer.Finish(), "p");
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(*reader->Doubles("d"), doubles);
  EXPECT_EQ(*reader->Ints("i", 4), ints);
  EXPECT_TRUE(reader->Ints("none")->empty());
  EXPECT_FALSE(reader->Ints("i", 3).ok());
  EXPECT_FALSE(reader->Ints("absent").ok());
  EXPECT_FALSE(reader->Int("i", 0, 1).ok());
}

TEST(StateText, RefusesAKeyTwice) {
  EXPECT_FALSE(StateReader::Parse("blockstep-policy-state 1 p\na 1\na 2\nend\n", "p").ok());
  EXPECT_TRUE(StateReader::Parse("blockstep-policy-state 1 p\na 1\nb 2\nend\n", "p").ok());
}

}  // namespace
}  // namespace blockstep
