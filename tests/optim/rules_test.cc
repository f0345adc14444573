#include "optim/rules/rules.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/backends/backends.h"
#include "core/base/philox.h"
#include "core/base/thread_pool.h"
#include "core/device/host_stream.h"

namespace blockstep {
namespace {

TEST(Rules, UnknownNameAndRanges) {
  const auto wrong = MakeRule("adamv", {.beta1 = 1, .beta2 = -0.1, .eps = 0, .weight_decay = -1});
  ASSERT_FALSE(wrong.ok());
  for (const char* part :
       {"beta1: expected a value in [0, 1), got 1", "beta2: expected a value in [0, 1), got -0.1",
        "eps: expected a finite number > 0, got 0",
        "weight_decay: expected a finite number >= 0, got -1", "did you mean adamw"}) {
    EXPECT_NE(wrong.status().message().find(part), absl::string_view::npos) << wrong.status();
  }
}

TEST(Rules, AdamWStates) {
  const auto rule = MakeRule("adamw", {});
  ASSERT_TRUE(rule.ok());
  const std::vector<StateSpec> states = (*rule)->States({});
  ASSERT_EQ(states.size(), 2u);
  EXPECT_EQ(states[0].name, "m");
  EXPECT_EQ(states[1].name, "v");
  for (const StateSpec& s : states) {
    EXPECT_EQ(s.dtype, DType::kF32);
    EXPECT_EQ(s.layout, StateLayout::kLikeTensor);
  }
  EXPECT_FALSE((*rule)->commits_in_backward());
}

// Ten steps against a double reference. A float rounding is 2^-24 relative; a step makes about a
// dozen per element, the terms are of the size of the parameter and of lr.
// `decays`: whether weight decay is to be seen; `of_tensor`: what the tensor asks for.
void CompareTenSteps(DecayOn on, bool of_tensor, bool decays) {
  constexpr int64_t kRows = 5, kCols = 77, kN = kRows * kCols;
  const RuleHyper hyper{
      .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-6, .weight_decay = 0.1, .decay_on = on};
  const auto rule = MakeRule("adamw", hyper);
  ASSERT_TRUE(rule.ok());
  ThreadPool pool(1);
  InlineStream stream("compute", &pool);
  std::vector<float> p(kN), g(kN), m(kN), v(kN);
  std::vector<double> rp(kN), rm(kN), rv(kN);
  for (int64_t i = 0; i < kN; ++i) {
    rp[i] = p[i] = static_cast<float>(NormalPair(Draw(1, RandomUse::kTest, 0, i))[0]);
  }
  const auto view = [&](std::vector<float>& x) {
    return TensorView::Of(x.data(), DType::kF32, kRows, kCols);
  };
  const float scale = 0.37f;
  for (int64_t t = 1; t <= 10; ++t) {
    const float lr = 0.01f / static_cast<float>(t);
    for (int64_t i = 0; i < kN; ++i) {
      g[i] = static_cast<float>(NormalPair(Draw(1, RandomUse::kTest, t, i))[0]);
    }
    (*rule)->Update(*CpuBackend().kernels, stream,
                    {.param = view(p),
                     .grad = view(g),
                     .states = {view(m), view(v)},
                     .step = t,
                     .lr = lr,
                     .decay = of_tensor,
                     .grad_scale = &scale});
    for (int64_t i = 0; i < kN; ++i) {
      const double grad = static_cast<double>(g[i]) * scale;
      rm[i] = hyper.beta1 * rm[i] + (1 - hyper.beta1) * grad;
      rv[i] = hyper.beta2 * rv[i] + (1 - hyper.beta2) * grad * grad;
      if (decays) rp[i] *= 1 - static_cast<double>(lr) * hyper.weight_decay;
      const double m_hat = rm[i] / (1 - std::pow(hyper.beta1, t));
      const double v_hat = rv[i] / (1 - std::pow(hyper.beta2, t));
      rp[i] -= lr * m_hat / (std::sqrt(v_hat) + hyper.eps);
    }
  }
  ASSERT_TRUE(stream.Synchronize().ok());
  double worst = 0;
  for (int64_t i = 0; i < kN; ++i) {
    const double tolerance = 10 * 12 * 0x1p-24 * (std::abs(rp[i]) + 0.05);
    worst = std::max(worst, std::abs(p[i] - rp[i]) / tolerance);
  }
  EXPECT_LE(worst, 1) << "share of the tolerance";
}

TEST(Rules, AdamWAgainstDoubleWithDecay) { CompareTenSteps(DecayOn::kMatrices, true, true); }
TEST(Rules, AdamWAgainstDoubleWithoutDecay) { CompareTenSteps(DecayOn::kMatrices, false, false); }
TEST(Rules, AdamWOnAllDecaysWhatIsNoMatrixToo) {
  CompareTenSteps(DecayOn::kAll, false, true);
  CompareTenSteps(DecayOn::kAll, true, true);
}

}  // namespace
}  // namespace blockstep
