// What the step engine does around the kernels, against double: the first step's moments and
// weights are those of AdamW with the mean gradient, clipped by its global norm, decay on matrices
// only or on all parameters, for ragged ranks too. And a step without finite numbers writes
// nothing.
#include <gtest/gtest.h>

#include <cmath>
#include <mutex>

#include "core/base/str.h"
#include "tests/e2e/engine_harness.h"

namespace blockstep::testing {
namespace {

// The harness's.
constexpr double kBeta1 = 0.9f, kBeta2 = 0.95f, kEps = 1e-8f, kDecay = 0.1f;
constexpr double kUnit = 0x1p-24;

using Tensors = std::vector<std::vector<float>>;

struct FirstStep {
  Tensors gradient, m, v;  // the gradient is the engine's sum over tokens, divided by all slots'
  RunOutcome run;
  StepResult result;
};

FirstStep TakeFirstStep(RunSpec spec, const TensorTable& table) {
  FirstStep first;
  for (const TensorInfo& t : table.tensors) first.gradient.emplace_back(t.size(), NAN);
  first.m = first.v = first.gradient;
  std::mutex mutex;
  spec.after_step = [&](int, StepEngine& engine, const RankGroup&, Arena&,
                        const StepResult& result) {
    const std::lock_guard lock(mutex);
    first.result = result;
    for (size_t i = 0; i < table.tensors.size(); ++i) {
      const EntryState& state = engine.states().entries()[i];
      const TensorView gradient = engine.reducer().Reduced(static_cast<int>(i));
      const int64_t at = state.rows.begin * gradient.cols;
      std::copy_n(gradient.f32(), gradient.size(), first.gradient[i].begin() + at);
      std::copy_n(state.tensors[0].f32(), gradient.size(), first.m[i].begin() + at);
      std::copy_n(state.tensors[1].f32(), gradient.size(), first.v[i].begin() + at);
    }
  };
  first.run = RunTraining(spec);
  return first;
}

double Norm(const Tensors& tensors) {
  double sum = 0;
  for (const auto& tensor : tensors) {
    for (const float x : tensor) sum += double{x} * x;
  }
  return std::sqrt(sum);
}

void CompareFirstStep(DecayOn decay_on) {
  const TensorTable table = LlamaTensors(TinyLlama(false));
  RunSpec spec{.policy = {.name = "full"}, .steps = 1, .slots = 7, .micro_slots = 2};
  spec.numerics = Numerics::kFast;
  spec.decay_on = decay_on;
  spec.lr = 0;
  const Tensors before = RunTraining(spec).weights;
  spec.lr = 1e-2;
  for (const int ranks : {1, 3}) {
    for (const double clip : {0.0, 0.25}) {
      SCOPED_TRACE(Cat(ranks, " ranks, clip ", clip));
      spec.ranks = ranks;
      spec.clip_norm = clip;
      const FirstStep first = TakeFirstStep(spec, table);
      const double norm = Norm(first.gradient);
      ASSERT_GT(norm, 0.3);
      EXPECT_NEAR(first.result.grad_norm, norm, 1e-12 * norm);
      const double scale = clip > 0 ? clip / norm : 1;
      const double lr = first.result.learning_rate;
      int64_t wrong = 0;
      for (size_t t = 0; t < table.tensors.size(); ++t) {
        const bool decays = decay_on == DecayOn::kAll || !table.tensors[t].vector;
        const double decay = decays ? 1 - lr * kDecay : 1;
        for (size_t i = 0; i < before[t].size(); ++i) {
          const double g = scale * first.gradient[t][i], m = (1 - kBeta1) * g;
          const double v = (1 - kBeta2) * g * g, w = before[t][i];
          // A handful of roundings each, all of positive terms but the last subtraction; squares
          // below 2^-126 lose up to 2^-149.
          wrong += !(std::abs(first.m[t][i] - m) <= 6 * kUnit * std::abs(m));
          wrong += !(std::abs(first.v[t][i] - v) <= 8 * kUnit * v + 0x1p-147);
          const double want = w * decay - lr * g / (std::abs(g) + kEps);
          const double slack = std::abs(g) < 1e-15 ? 2 * lr : 0;  // v is too small for its digits
          wrong += !(std::abs(first.run.weights[t][i] - want) <=
                     16 * kUnit * (std::abs(w) + lr) + slack);
        }
      }
      EXPECT_EQ(wrong, 0);
    }
  }
}

TEST(StepMaths, FirstStepIsAdamWOfTheClippedMeanGradient) { CompareFirstStep(DecayOn::kMatrices); }
TEST(StepMaths, DecayOnAllReachesTheNorms) { CompareFirstStep(DecayOn::kAll); }

// A rate that throws the weights out of fp32's range makes the step after the first non-finite.
TEST(NonFinite, AStepWithoutFiniteGradientsWritesNothing) {
  RunSpec spec{.ranks = 2, .policy = {.name = "full"}, .steps = 1, .lr = 1e38};
  const RunOutcome one = RunTraining(spec);
  spec.steps = 3;
  std::mutex mutex;
  std::vector<bool> committed;
  spec.after_step = [&](int rank, StepEngine&, const RankGroup&, Arena&, const StepResult& result) {
    const std::lock_guard lock(mutex);
    if (rank == 0) committed.push_back(result.committed);
    EXPECT_EQ(result.report.nonfinite > 0, !result.committed);
  };
  EXPECT_EQ(RunTraining(spec).weights_hash, one.weights_hash);
  EXPECT_EQ(committed, (std::vector<bool>{true, false, false}));
}

}  // namespace
}  // namespace blockstep::testing
