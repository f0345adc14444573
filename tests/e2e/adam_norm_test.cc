// The norms of Adam's direction that a run reports, tensor by tensor: against moments and a sum in
// double, written down a second time; the same bits for every number of ranks; and read by the
// policy that asks for them.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <mutex>

#include "core/base/str.h"
#include "tests/e2e/engine_harness.h"
#include "tests/sanitized.h"

namespace blockstep::testing {
namespace {

// Those of the harness: the rule's defaults but for beta2. Kernels take them as fp32.
constexpr double kBeta1 = 0.9f, kBeta2 = 0.95f, kEps = 1e-8f;

// sum of M^2 / (V + eps), eps under the root of the paper's M / sqrt(V + eps).
double SquaredDirection(const TensorView& m, const TensorView& v, int64_t step) {
  double sum = 0;
  for (int64_t i = 0; i < m.size(); ++i) {
    const double mean = m.f32()[i] / (1 - std::pow(kBeta1, step));
    const double square = v.f32()[i] / (1 - std::pow(kBeta2, step));
    sum += mean * mean / (square + kEps);
  }
  return sum;
}

using Norms = std::map<std::pair<int64_t, int>, double>;  // by (step, tensor)

PolicyConfig BlockLlm(BlockLlmScore score) {
  return {.name = "blockllm",
          .seed = 11,
          .score = score,
          .sparsity = 0.6,
          .patience = 5,
          .probes_per_step = 2};
}

struct Measured {
  RunOutcome run;
  Norms reported, expected;
};

Measured Train(RunSpec spec) {
  Measured m;
  std::mutex mutex;
  spec.after_step = [&](int rank, StepEngine& engine, const RankGroup&, Arena&,
                        const StepResult& result) {
    std::lock_guard lock(mutex);
    for (const TensorNorm& norm : result.report.norms) {
      if (norm.adam_squared_norm < 0) continue;
      const auto [at, first] =
          m.reported.insert({{result.report.step, norm.tensor}, norm.adam_squared_norm});
      EXPECT_EQ(at->second, norm.adam_squared_norm) << "rank " << rank << " reports another";
    }
    if (!result.committed) return;
    for (const EntryState& s : engine.states().entries()) {
      m.expected[{result.report.step, s.entry.tensor}] +=
          s.rows.empty() ? 0 : SquaredDirection(s.tensors[0], s.tensors[1], s.step);
    }
  };
  m.run = RunTraining(spec);
  return m;
}

// Each quantum is rounded once to 2^-72, sums in double differ in order only: 1e-12 is 4000 units
// of the last place, and a sum here has at most 3072 terms, all positive.
TEST(AdamNorm, EqualsMomentsInDoubleForAnyRanks) {
  RunSpec spec{.policy = BlockLlm(BlockLlmScore::kAdam), .steps = kSanitized ? 6 : 24};
  const Measured one = Train(spec);
  EXPECT_GT(one.reported.size(), static_cast<size_t>(spec.steps));
  for (const int ranks : {1, 2, 3, 4}) {
    SCOPED_TRACE(Cat(ranks, " ranks"));
    spec.ranks = ranks;
    const Measured many = ranks == 1 ? one : Train(spec);
    EXPECT_EQ(many.reported, one.reported);
    ASSERT_EQ(many.reported.size(), many.expected.size()) << "every train entry, nothing else";
    for (const auto& [key, want] : many.expected) {
      const auto found = many.reported.find(key);
      ASSERT_NE(found, many.reported.end()) << "step " << key.first << " tensor " << key.second;
      EXPECT_GT(want, 0);
      EXPECT_NEAR(found->second, want, 1e-12 * want)
          << "step " << key.first << " tensor " << key.second;
    }
  }
}

// The first step of a phase has M = g and V = g^2: the direction is g / sqrt(g^2 + eps), of length
// just below sqrt(elements).
TEST(AdamNorm, TheFirstStepsDirectionIsTheSignOfTheGradient) {
  const Measured full = Train({.policy = {.name = "full"}, .steps = 1, .measure_adam = true});
  const TensorTable table = LlamaTensors(TinyLlama(false));
  ASSERT_EQ(full.reported.size(), table.tensors.size());
  for (const auto& [key, norm] : full.reported) {
    const auto elements = static_cast<double>(table.tensors[key.second].size());
    EXPECT_LT(norm, elements * (1 + 1e-5));
    EXPECT_GT(norm, 0);
  }
}

// Measuring is left out where nobody reads it, costs one exchange where somebody does, and changes
// nothing else.
TEST(AdamNorm, IsMeasuredOnlyWhereItIsRead) {
  RunSpec spec{.ranks = 2, .policy = BlockLlm(BlockLlmScore::kGradNorm), .steps = 6};
  const Measured without = Train(spec);
  spec.measure_adam = true;
  const Measured with = Train(spec);
  EXPECT_TRUE(without.reported.empty());
  EXPECT_FALSE(with.reported.empty());
  EXPECT_EQ(with.run.weights_hash, without.run.weights_hash);
  EXPECT_EQ(with.run.blocks, without.run.blocks);
  EXPECT_GT(with.run.bytes[0].total(), without.run.bytes[0].total());
}

// Train sets that the policy asks for, one line per directive, when it is told `reports`.
std::vector<std::string> Choices(PolicyConfig config, const std::vector<StepReport>& reports) {
  config.total_steps = static_cast<int64_t>(reports.size());
  const TensorTable table = LlamaTensors(TinyLlama(false));
  const auto policy = MakePolicy(config, table);
  CHECK_OK(policy);
  std::vector<std::string> choices;
  (*policy)->Start();
  for (const StepReport& report : reports) {
    for (const Directive& d : (*policy)->OnReport(report)) {
      choices.push_back(Cat(d.from, ":"));
      for (const ActiveEntry& e : d.sets[0].entries) choices.back() += Cat(" ", e.tensor);
    }
  }
  return choices;
}

// A run that reads the norms cannot be one that falls back to sqrt(elements) for every tensor: the
// reports of a whole run without them lead to other choices.
TEST(AdamNorm, PoliciesThatAskForItChooseByIt) {
  for (const BlockLlmMode mode : {BlockLlmMode::kRepaired, BlockLlmMode::kPaper}) {
    PolicyConfig config = BlockLlm(BlockLlmScore::kAdam);
    config.mode = mode;
    std::vector<StepReport> reports;
    RunSpec spec{.policy = config, .steps = 60};
    spec.after_step = [&](int, StepEngine&, const RankGroup&, Arena&, const StepResult& result) {
      reports.push_back(result.report);
    };
    (void)RunTraining(spec);
    const std::vector<std::string> chosen = Choices(config, reports);
    for (StepReport& report : reports) {
      for (TensorNorm& norm : report.norms) norm.adam_squared_norm = -1;
    }
    EXPECT_NE(Choices(config, reports), chosen);
  }
}

}  // namespace
}  // namespace blockstep::testing
