// Planted mistakes: one op of one rank computes something else, and the comparison of digests names
// it, its step and its slot. Without one, runs of any number of ranks agree in every digest.
#include "launcher/commands/verify/bisect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <bit>
#include <filesystem>

#include "core/backends/backends.h"
#include "core/base/str.h"
#include "tests/dist/plain_backend.h"
#include "tests/e2e/engine_harness.h"

namespace blockstep::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr int64_t kSteps = 6, kSlots = 5;

std::string DigestsIn(const std::string& name) {
  return ::testing::TempDir() + "/" +
         ::testing::UnitTest::GetInstance()->current_test_info()->name() + "-" + name;
}

RunSpec Spec(const std::string& policy, int ranks) {
  RunSpec spec{.ranks = ranks,
               .policy = {.name = policy, .seed = 11},
               .steps = kSteps,
               .slots = kSlots,
               .digests = DigestsIn(Cat(policy, ranks))};
  spec.policy.block_steps = 2;
  spec.policy.patience = 2;
  spec.policy.probes_per_step = 2;
  return spec;
}

// Which mistake is planted in the kernels of BrokenBackend, and which call of the op makes it.
struct Mistake {
  int64_t call = 0;                // counted over all ranks, from 0
  std::atomic<int64_t> calls = 0;  // so far
  bool Now() { return calls++ == call; }
};
Mistake* mistake = nullptr;

void BrokenSwiGlu(Stream& stream, const SwiGluForwardArgs& args) {
  CpuBackend().kernels->swiglu_forward(stream, args);
  if (mistake->Now()) args.out.f32(3)[5] += 0x1p-8f;
}
void BrokenMatmulDw(Stream& stream, const MatmulArgs& args) {
  CpuBackend().kernels->matmul(stream, args);
  if (args.trans_a == Transpose::kYes && mistake->Now()) args.d.f32()[0] *= 2;
}
// Rounds what it writes to 16 bits, as a cast in the wrong place does.
void BrokenAdamW(Stream& stream, const AdamWArgs& args) {
  CpuBackend().kernels->adamw(stream, args);
  if (!mistake->Now()) return;
  args.v.f32()[0] = std::bit_cast<float>(std::bit_cast<uint32_t>(args.v.f32()[0]) & 0xffff0000u);
}
bool AllZero(const TensorView& view) {
  for (int64_t r = 0; r < view.rows; ++r) {
    for (int64_t c = 0; c < view.cols; ++c) {
      if (view.f32(r)[c] != 0) return false;
    }
  }
  return true;
}
// The right half of a node of the slot tree is lost. Which rank's add comes first is chance, and
// some add nothing: rows of the embedding for tokens that its slots do not hold.
void BrokenAdd(Stream& stream, const AddArgs& args) {
  if (AllZero(args.src) || !mistake->Now()) CpuBackend().kernels->add(stream, args);
}

// Fills what is broken into a copy of the cpu backend.
template <typename Change>
Backend Broken(KernelTable& table, Change change) {
  table = *CpuBackend().kernels;
  change(table);
  Backend backend = CpuBackend();
  backend.kernels = &table;
  return backend;
}

DigestComparison Compare(const RunSpec& a, const RunSpec& b) {
  const auto compared = CompareDigests({"A", a.digests}, {"B", b.digests});
  EXPECT_TRUE(compared.ok()) << compared.status();
  return *compared;
}

// One rank as it should be against three with the mistake.
template <typename Change>
std::string FirstDifference(const std::string& policy, int64_t call, Change change) {
  Mistake planted{.call = call};
  mistake = &planted;
  RunSpec good = Spec(policy, 1), bad = Spec(policy, 3);
  KernelTable table;
  const Backend backend = Broken(table, change);
  bad.own_backend = &backend;
  const RunOutcome one = RunTraining(good), three = RunTraining(bad);
  EXPECT_GT(planted.calls, call) << "the mistake was not made";
  EXPECT_NE(one.weights_hash, three.weights_hash);
  return Compare(good, bad).Text();
}

TEST(Bisect, RunsThatAreEqualAgreeInEveryDigest) {
  for (const std::string policy : {"full", "badam", "blockllm"}) {
    for (const bool tied : {false, true}) {
      SCOPED_TRACE(Cat(policy, tied ? ", tied" : ""));
      RunSpec one = Spec(policy, 1), three = Spec(policy, 3);
      one.tied = three.tied = tied;
      three.pinned.assign(4, 1);
      EXPECT_EQ(RunTraining(one).weights_hash, RunTraining(three).weights_hash);
      const DigestComparison compared = Compare(one, three);
      EXPECT_FALSE(compared.where.has_value()) << compared.Text();
      EXPECT_EQ(compared.steps, kSteps);
      // Two layers: at least 20 ops forward of each slot.
      EXPECT_GT(compared.records, kSteps * kSlots * 40);
      EXPECT_EQ(compared.Text(), Cat("all ", compared.records, " digests of 6 steps agree"));
    }
  }
}

// Digests watch: they change no bit, on queued streams neither.
TEST(Bisect, DigestsDoNotShow) {
  RunSpec spec = Spec("blockllm", 3);
  Backend delayed = CpuBackend();
  delayed.device = PlainDelayed().device;
  spec.own_backend = &delayed;
  spec.comm_delay_us = 100;
  RunSpec plain = Spec("blockllm", 1);
  plain.digests.clear();
  EXPECT_EQ(RunTraining(spec).weights_hash, RunTraining(plain).weights_hash);
  const RunSpec one = Spec("blockllm", 1);
  RunTraining(one);
  EXPECT_FALSE(Compare(one, spec).where.has_value());
}

TEST(Bisect, NamesAForwardOp) {
  // Five slots, two layers: ten calls a step, so this one is of step 2.
  const std::string text =
      FirstDifference("full", 25, [](KernelTable& t) { t.swiglu_forward = BrokenSwiGlu; });
  EXPECT_THAT(text, StartsWith("first difference: step 2, slot 1"));
  EXPECT_THAT(text, ::testing::ContainsRegex("slot 1[0-4], forward layer [01]: swiglu out\n"));
  EXPECT_THAT(text, ::testing::ContainsRegex("  A: digest [0-9a-f]+ of 2560 values, rank 0\n"));
  EXPECT_THAT(text, ::testing::ContainsRegex("  B: digest [0-9a-f]+ of 2560 values, rank [0-2]$"));
}

TEST(Bisect, NamesAWeightGradient) {
  const std::string text =
      FirstDifference("full", 0, [](KernelTable& t) { t.matmul = BrokenMatmulDw; });
  EXPECT_THAT(text,
              ::testing::ContainsRegex("step 0, slot [0-4], head: matmul dW lm_head.weight\n"));
}

TEST(Bisect, NamesAnUpdate) {
  // All entries of `full` on three ranks; ranks own rows of all but a few norms.
  const std::string text =
      FirstDifference("full", 100, [](KernelTable& t) { t.adamw = BrokenAdamW; });
  EXPECT_THAT(
      text, ::testing::ContainsRegex("first difference: step [12], update: v of (model|lm_head)"));
}

TEST(Bisect, NamesALostHalfOfTheSlotTree) {
  const std::string text = FirstDifference("badam", 0, [](KernelTable& t) { t.add = BrokenAdd; });
  EXPECT_THAT(text,
              ::testing::ContainsRegex("first difference: step 0, gradient of .*, all slots\n"));
}

TEST(Bisect, SaysWhereTheFilesAreOrHowTheyAreWrong) {
  const RunSpec one = Spec("full", 1);
  RunTraining(one);
  const auto missing = CompareDigests({"A", one.digests}, {"B", DigestsIn("none")});
  EXPECT_TRUE(absl::IsNotFound(missing.status()));
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr(DigestsIn("none") + ".rank0"));
  std::filesystem::resize_file(one.digests + ".rank0", 30);
  const auto cut = CompareDigests({"A", one.digests}, {"B", one.digests});
  EXPECT_TRUE(absl::IsDataLoss(cut.status()));
  EXPECT_THAT(std::string(cut.status().message()), HasSubstr(one.digests + ".rank0:1"));
}

}  // namespace
}  // namespace blockstep::testing
