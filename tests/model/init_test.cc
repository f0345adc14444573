#include "model/init.h"

#include <gtest/gtest.h>

#include <cmath>

#include "model/llama_config.h"

namespace blockstep {
namespace {

TensorTable Table() {
  return LlamaTensors({.vocab = 333,
                       .hidden = 65,
                       .intermediate = 96,
                       .layers = 1,
                       .heads = 5,
                       .kv_heads = 5,
                       .head_dim = 13});
}

std::vector<float> Rows(const TensorTable& table, int tensor, Range rows, uint64_t seed = 5) {
  std::vector<float> out(rows.size() * table.tensors[tensor].cols);
  InitRows(table, tensor, rows, {.seed = seed, .range = 0.02}, out.data());
  return out;
}

TEST(InitRows, APartIsThatPartOfTheWhole) {
  const TensorTable table = Table();  // 65 columns: parts begin at odd elements too
  const std::vector<float> whole = Rows(table, 0, {0, 333});
  for (const Range part :
       {Range{0, 1}, Range{1, 4}, Range{100, 333}, Range{332, 333}, Range{7, 7}}) {
    const std::vector<float> rows = Rows(table, 0, part);
    EXPECT_TRUE(std::equal(rows.begin(), rows.end(), whole.begin() + part.begin * 65));
  }
}

TEST(InitRows, NormalOfTheAskedRange) {
  const TensorTable table = Table();
  const std::vector<float> values = Rows(table, 0, {0, 333});
  const double n = static_cast<double>(values.size());
  double sum = 0, squares = 0, fourth = 0, neighbours = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double z = values[i] / 0.02;
    sum += z;
    squares += z * z;
    fourth += z * z * z * z;
    if (i > 0) neighbours += z * values[i - 1] / 0.02;
  }
  // Five standard errors of each moment.
  EXPECT_NEAR(sum / n, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 1, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(fourth / n, 3, 5 * std::sqrt(96 / n));
  EXPECT_NEAR(neighbours / n, 0, 5 / std::sqrt(n));
}

TEST(InitRows, SeedsAndTensorsDiffer) {
  const TensorTable table = Table();
  EXPECT_NE(Rows(table, 0, {0, 4}, 1), Rows(table, 0, {0, 4}, 2));
  EXPECT_NE(Rows(table, 1, {0, 4}), Rows(table, 2, {0, 4}));
  EXPECT_EQ(Rows(table, 1, {0, 4}), Rows(table, 1, {0, 4}));
}

TEST(InitRows, NormsAreOnes) {
  const TensorTable table = Table();
  const int norm = table.Find("model.norm.weight");
  EXPECT_EQ(Rows(table, norm, {0, 65}), std::vector<float>(65, 1.0f));
}

}  // namespace
}  // namespace blockstep
