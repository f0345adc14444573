// What the row loops promise by themselves: the error of exp, the same bits wherever an element
// stands, and agreement between instruction sets.
#include "core/ops/cpu/loops/loops.h"

#include "tests/core/op_harness.h"

namespace blockstep::cpu {
namespace {

// Distance in units in the last place of the exact value's binade.
double Ulps(float got, double want) {
  int exponent;
  std::frexp(want, &exponent);
  return std::fabs(got - want) / std::ldexp(1.0, std::max(exponent - 24, -149));
}

class LoopsTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (GetParam() >= AvailableLoops().count) GTEST_SKIP() << "not on this processor";
    loops_ = AvailableLoops().sets[GetParam()];
  }
  const CpuLoops* loops_ = nullptr;
  Device device_;  // whose memory the host reads
};

TEST_P(LoopsTest, ExpIsWithinItsBound) {
  constexpr int64_t kCount = 1 << 20;
  std::vector<float> x(kCount), y(kCount);
  for (int64_t i = 0; i < kCount; ++i) {
    x[i] = static_cast<float>(-87.3 + (88 + 87.3) * static_cast<double>(i) / (kCount - 1));
  }
  loops_->exp(x.data(), y.data(), kCount);
  double worst = 0;
  for (int64_t i = 0; i < kCount; ++i) worst = std::max(worst, Ulps(y[i], std::exp(double{x[i]})));
  std::printf("    %s: exp within %.3f ulp\n", loops_->name, worst);
  EXPECT_LE(worst, 1.1);
}

TEST_P(LoopsTest, ExpAtTheEnds) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float x[] = {-infinity, -1000, -87.4f,   0,
                     -0.0f,     1000,  infinity, std::numeric_limits<float>::quiet_NaN()};
  float y[8];
  loops_->exp(x, y, 8);
  EXPECT_EQ(y[0], 0);
  EXPECT_EQ(y[1], 0);
  EXPECT_EQ(y[2], 0);
  EXPECT_EQ(y[3], 1);
  EXPECT_EQ(y[4], 1);
  EXPECT_LE(Ulps(y[5], std::exp(88.0)), 2);
  EXPECT_EQ(y[6], y[5]);
  EXPECT_TRUE(std::isnan(y[7]));
}

// An element gets the same bits from the vector body and from the tail.
TEST_P(LoopsTest, PositionDoesNotMatter) {
  Buffer x(device_, RandomMat(1, 64, 1)), u(device_, RandomMat(1, 64, 2));
  std::vector<float> whole(64), part(64);
  loops_->swiglu(x.data(), u.data(), whole.data(), 64);
  for (int64_t begin = 0; begin < 33; ++begin) {
    for (int64_t n = 0; n + begin <= 64; n += 3) {
      loops_->swiglu(x.data() + begin, u.data() + begin, part.data(), n);
      ASSERT_EQ(std::memcmp(part.data(), whole.data() + begin, n * sizeof(float)), 0);
    }
  }
}

TEST_P(LoopsTest, SquaredQuantumIgnoresVectorWidth) {
  Buffer x(device_, RandomMat(1, 256, 1));
  for (int64_t n : {1, 15, 16, 255, 256}) {
    EXPECT_EQ(loops_->squared_quantum(x.data(), n),
              AvailableLoops().sets[0]->squared_quantum(x.data(), n));
  }
}

TEST_P(LoopsTest, AdamQuantumIgnoresVectorWidth) {
  Buffer m(device_, RandomMat(1, 256, 1)), v(device_, reference::Abs(RandomMat(1, 256, 2)));
  const AdamNormScalars s = {1.25, 3.5, 1e-8};
  for (int64_t n : {1, 15, 16, 255, 256}) {
    EXPECT_EQ(loops_->adam_quantum(s, m.data(), v.data(), n),
              AvailableLoops().sets[0]->adam_quantum(s, m.data(), v.data(), n));
  }
}

// Without a fused multiply-add in them, loops agree to the bit between instruction sets.
TEST_P(LoopsTest, UnfusedLoopsAgreeBetweenSets) {
  const CpuLoops& base = *AvailableLoops().sets[0];
  Buffer x(device_, RandomMat(1, 100, 1)), d(device_, RandomMat(1, 100, 2)),
      w(device_, RandomMat(1, 100, 3));
  std::vector<float> y(100), z(100);
  EXPECT_EQ(base.norm_row(x.data(), d.data(), nullptr, w.data(), y.data(), 100, 1e-5f),
            loops_->norm_row(x.data(), d.data(), nullptr, w.data(), z.data(), 100, 1e-5f));
  EXPECT_EQ(y, z);
  Buffer p(device_, RandomMat(1, 100, 4)), p2 = p, m(device_, RandomMat(1, 100, 5)), m2 = m,
                                           v(device_, reference::Abs(RandomMat(1, 100, 6))), v2 = v;
  const AdamWScalars s = {1, 0.9f, 0.9f, 0.1f, 0.99f, 0.01f, 0.1f, 2.0f, 1e-8f};
  base.adamw(s, p.data(), x.data(), m.data(), v.data(), 100);
  loops_->adamw(s, p2.data(), x.data(), m2.data(), v2.data(), 100);
  EXPECT_TRUE(p.SameBits(p2) && m.SameBits(m2) && v.SameBits(v2));
}

TEST_P(LoopsTest, AttentionAgreesWithBaseline) {
  constexpr int64_t kTokens = 100, kDim = 40;
  Buffer q(device_, RandomMat(kTokens, kDim, 1)), k(device_, RandomMat(kTokens, kDim, 2)),
      v(device_, RandomMat(kTokens, kDim, 3)), dout(device_, RandomMat(kTokens, kDim, 4));
  const CpuLoops* sets[] = {AvailableLoops().sets[0], loops_};
  std::vector<reference::Mat> results[2];
  for (int i = 0; i < 2; ++i) {
    Buffer out(device_, kTokens, kDim), lse(device_, kTokens, 1), dq(device_, kTokens, kDim),
        dk(device_, kTokens, kDim), dv(device_, kTokens, kDim);
    std::vector<float> scratch(AttentionScratchFloats(kTokens, kDim));
    const AttentionTask task = {.q_len = kTokens,
                                .kv_len = kTokens,
                                .q_offset = 0,
                                .q_per_kv = 1,
                                .head_dim = kDim,
                                .q = q.data(),
                                .k = k.data(),
                                .v = v.data(),
                                .ldq = kDim,
                                .ldk = kDim,
                                .ldv = kDim,
                                .out = out.data(),
                                .dout = dout.data(),
                                .ldo = kDim,
                                .lddo = kDim,
                                .lse = lse.data(),
                                .ldl = 1,
                                .dq = dq.data(),
                                .dk = dk.data(),
                                .dv = dv.data(),
                                .lddq = kDim,
                                .lddk = kDim,
                                .lddv = kDim,
                                .scale = 0.2f,
                                .first_key = nullptr,
                                .scratch = scratch.data()};
    sets[i]->attention_forward(task);
    sets[i]->attention_backward(task);
    results[i] = {out.mat(), lse.mat(), dq.mat(), dk.mat(), dv.mat()};
  }
  for (size_t i = 0; i < results[0].size(); ++i) {
    const reference::Mat& want = results[0][i];
    ExpectWithin(loops_->name, results[1][i], want,
                 reference::Mat(want.rows, want.cols, 512 * kUnit * (1 + MaxAbs(want))));
  }
}

INSTANTIATE_TEST_SUITE_P(Sets, LoopsTest, ::testing::Values(0, 1, 2), [](const auto& info) {
  return std::string(info.param == 0 ? "baseline" : info.param == 1 ? "v3" : "v4");
});

}  // namespace
}  // namespace blockstep::cpu
