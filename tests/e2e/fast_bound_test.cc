// numerics: fast. Loss and every gradient of step 1 for N = 2, 3, 4, sharded and pinned, against
// N = 1.
//
// Slots of whole row tiles (T = 64) give every token the same activations and the same gradients of
// activations, to the bit, whatever micro-step and rank its slot lands in: rows do not know their
// neighbours and weights are equal. So losses are equal, and an element of dW is the same sum of n
// terms for every N; only its order differs:
//   g = sum over the n tokens of a step of dy[t] x[t]     (norms: dy[t] s[t] rstd[t]; embedding:
//                                                          dout[t] where the id occurs)
// Whatever the order (tokens in a GEMM, += over micro-steps, ranks in a reduce-scatter), a term
// meets one rounding for each of its products, at most two, and at most n - 1 of additions, fused
// or not; adding to nothing is exact. With u = 2^-24 and gamma(k) = k u / (1 - k u)
//   |fl(g) - g| <= gamma(n + 1) * sum |dy[t]| |x[t]| + underflow
// (Higham, Accuracy and Stability of Numerical Algorithms, 3.1), so two orders differ by at most
// twice that. g and the sum of magnitudes come from the kernels' own operands, in double, whose
// gamma is 2^-29 of the above and added to it. An operation below 2^-126 loses at most that.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>

#include "core/base/str.h"
#include "tests/e2e/engine_harness.h"
#include "tests/e2e/term_sums.h"

namespace blockstep::testing {
namespace {

using Gradients = std::vector<std::vector<float>>;  // per tensor

double Gamma(int64_t roundings, double unit) {
  const double ku = static_cast<double>(roundings) * unit;
  return ku / (1 - ku);
}

double Bound(const TermSums& s, int64_t element) {
  const double underflow = 3 * static_cast<double>(s.terms) * 0x1p-126;
  return (Gamma(s.terms + 1, 0x1p-24) + Gamma(s.terms + 1, 0x1p-53)) * s.magnitude[element] +
         underflow;
}

struct FirstStep {
  RunOutcome run;
  Gradients gradients;
  std::vector<TermSums> sums;  // per tensor; of a run on the summing backend
};

FirstStep TakeOneStep(RunSpec spec, const TensorTable& table) {
  FirstStep step;
  for (const TensorInfo& t : table.tensors) step.gradients.emplace_back(t.size(), NAN);
  step.sums.resize(table.tensors.size());
  spec.after_step = [&](int, StepEngine& engine, const RankGroup&, Arena&,
                        const StepResult& result) {
    EXPECT_TRUE(result.committed);
    const GradReducer& reducer = engine.reducer();
    for (size_t i = 0; i < result.report.norms.size(); ++i) {
      const int tensor = result.report.norms[i].tensor;
      const TensorView reduced = reducer.Reduced(static_cast<int>(i));
      if (reduced.size() == 0) continue;
      const int64_t at = reducer.ReducedRows(static_cast<int>(i)).begin * reduced.cols;
      std::copy_n(reduced.f32(), reduced.size(), step.gradients[tensor].begin() + at);
      if (spec.own_backend != nullptr) step.sums[tensor] = Sums().at(reduced.data);
    }
    Sums().clear();
  };
  step.run = RunTraining(spec);
  return step;
}

class FastBound : public ::testing::TestWithParam<std::tuple<GradAccumulation, bool>> {};

TEST_P(FastBound, LossAndEveryGradientOfStepOne) {
  const auto [accumulation, tied] = GetParam();
  const TensorTable table = LlamaTensors(TinyLlama(tied));
  const Backend summing = SummingBackend();
  RunSpec spec{.policy = {.name = "full"},
               .steps = 1,
               .slots = 7,
               .micro_slots = 2,
               .tokens = kMatmulRowTile,
               .numerics = Numerics::kFast,
               .accumulation = accumulation,
               .own_backend = &summing,
               .tied = tied};
  const FirstStep one = TakeOneStep(spec, table);
  spec.own_backend = nullptr;
  for (size_t t = 0; t < table.tensors.size(); ++t) {
    const bool both_ends = tied && table.tensors[t].unit == 0;
    ASSERT_EQ(one.sums[t].terms, spec.slots * spec.tokens * (both_ends ? 2 : 1));
  }
  double worst = 0;
  int64_t elements = 0, differ = 0;
  for (const int ranks : {1, 2, 3, 4}) {
    for (const bool pinned : {false, true}) {
      SCOPED_TRACE(Cat(ranks, " ranks, ", pinned ? "pinned" : "sharded"));
      spec.ranks = ranks;
      spec.pinned.assign(pinned ? table.units.size() : 0, 1);
      const FirstStep many = TakeOneStep(spec, table);
      EXPECT_EQ(many.run.losses, one.run.losses);
      for (size_t t = 0; t < table.tensors.size(); ++t) {
        int64_t outside = 0;
        for (int64_t i = 0; i < table.tensors[t].size(); ++i) {
          const double bound = Bound(one.sums[t], i), exact = one.sums[t].sum[i];
          const double found = many.gradients[t][i], first = one.gradients[t][i];
          const double error = std::abs(found - exact), apart = std::abs(found - first);
          // Negated: a missing row is NaN.
          outside += !(error <= bound) || !(apart <= 2 * bound);
          worst = std::max(worst, std::max(error / bound, apart / (2 * bound)));
          differ += apart > 0;
          ++elements;
        }
        EXPECT_EQ(outside, 0) << table.tensors[t].name << ", elements out of bounds";
      }
    }
  }
  EXPECT_GT(differ, 0) << "no order differs: nothing shown";
  std::cout << elements << " elements, " << differ << " of them not equal to one rank's; at most "
            << worst << " of the bound used\n";
}

INSTANTIATE_TEST_SUITE_P(Accumulations, FastBound,
                         ::testing::Combine(::testing::Values(GradAccumulation::kLocal,
                                                              GradAccumulation::kSharded),
                                            ::testing::Bool()));

}  // namespace
}  // namespace blockstep::testing
