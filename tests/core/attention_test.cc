#include "core/ops/attention.h"

#include "tests/core/op_harness.h"

namespace blockstep {
namespace {

using reference::AttentionInputs;
using reference::Mat;

struct Case {
  AttentionInputs in;
  Mat dout;
};

Case MakeCase(AttentionShape s, std::vector<int32_t> first_key = {}) {
  Case c;
  c.in.shape = s;
  c.in.q = RandomMat(s.slots * s.q_len, s.heads * s.head_dim, 1);
  c.in.k = RandomMat(s.slots * s.kv_len, s.kv_heads * s.head_dim, 2);
  c.in.v = RandomMat(s.slots * s.kv_len, s.kv_heads * s.head_dim, 3);
  c.in.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(s.head_dim)));
  c.in.first_key = std::move(first_key);
  c.dout = RandomMat(s.slots * s.q_len, s.heads * s.head_dim, 4);
  return c;
}

// Documents of 1, 2, 3 … tokens, in positions of keys.
std::vector<int32_t> Documents(const AttentionShape& s, int64_t step) {
  std::vector<int32_t> first;
  for (int64_t slot = 0; slot < s.slots; ++slot) {
    int64_t begin = 0, length = 1 + slot;
    for (int64_t p = 0; p < s.q_offset + s.q_len; ++p) {
      if (p == begin + length) {
        begin = p;
        length += step;
      }
      if (p >= s.q_offset) first.push_back(static_cast<int32_t>(begin));
    }
  }
  return first;
}

std::vector<Case> Cases() {
  const AttentionShape odd = {
      .slots = 2, .q_len = 77, .kv_len = 77, .heads = 3, .kv_heads = 3, .head_dim = 5};
  const AttentionShape gqa = {
      .slots = 1, .q_len = 130, .kv_len = 130, .heads = 4, .kv_heads = 2, .head_dim = 64};
  const AttentionShape offset = {.slots = 2,
                                 .q_len = 70,
                                 .kv_len = 120,
                                 .q_offset = 45,
                                 .heads = 2,
                                 .kv_heads = 1,
                                 .head_dim = 24};
  const AttentionShape decode = {.slots = 3,
                                 .q_len = 1,
                                 .kv_len = 66,
                                 .q_offset = 64,
                                 .heads = 2,
                                 .kv_heads = 2,
                                 .head_dim = 16};
  return {MakeCase(odd),
          MakeCase(gqa),
          MakeCase(offset),
          MakeCase(decode),
          MakeCase(gqa, Documents(gqa, 30)),
          MakeCase(offset, Documents(offset, 1))};
}

struct Outputs {
  Buffer out, stats, dq, dk, dv;
};

enum Wanted { kDq = 1, kDk = 2, kDv = 4, kAll = 7 };

Outputs Compute(Device& device, const Case& c, int wanted = kAll) {
  const AttentionShape& s = c.in.shape;
  constexpr int64_t kPad = 3;
  Buffer q(device, c.in.q, kPad), k(device, c.in.k, kPad), v(device, c.in.v, kPad),
      dout(device, c.dout, kPad);
  const int64_t stats_bytes = device.kernels().attention_stats_bytes(s);
  Outputs r = {Buffer::Poisoned(device, c.in.q.rows, c.in.q.cols, kPad),
               Buffer::Poisoned(device, 1, stats_bytes / static_cast<int64_t>(sizeof(float))),
               Buffer::Poisoned(device, c.in.q.rows, c.in.q.cols, kPad),
               Buffer::Poisoned(device, c.in.k.rows, c.in.k.cols, kPad),
               Buffer::Poisoned(device, c.in.v.rows, c.in.v.cols, kPad)};
  const int64_t bytes = device.kernels().attention_scratch_bytes(s, device.pool.threads());
  const std::vector<float> dead(bytes / sizeof(float), std::numeric_limits<float>::quiet_NaN());
  const DeviceArray<float> scratch(device, dead);
  const DeviceArray<int32_t> first_key(device, c.in.first_key);
  const int32_t* first = first_key.size() == 0 ? nullptr : first_key.data();
  const float scale = static_cast<float>(c.in.scale);
  device.kernels().attention_forward(*device.stream, {.shape = s,
                                                      .q = q.view(),
                                                      .k = k.view(),
                                                      .v = v.view(),
                                                      .out = r.out.view(),
                                                      .stats = r.stats.data(),
                                                      .scale = scale,
                                                      .first_key = first,
                                                      .scratch = scratch.data()});
  AttentionBackwardArgs b = {.shape = s,
                             .q = q.view(),
                             .k = k.view(),
                             .v = v.view(),
                             .out = r.out.view(),
                             .dout = dout.view(),
                             .stats = r.stats.data(),
                             .scale = scale,
                             .first_key = first,
                             .scratch = scratch.data()};
  if (wanted & kDq) b.dq = r.dq.view();
  if (wanted & kDk) b.dk = r.dk.view();
  if (wanted & kDv) b.dv = r.dv.view();
  device.kernels().attention_backward(*device.stream, b);
  EXPECT_TRUE(device.stream->Synchronize().ok());
  return r;
}

using AttentionTest = OpTest;

TEST_P(AttentionTest, MatchesTheReference) {
  for (const Case& c : Cases()) {
    const AttentionShape& s = c.in.shape;
    const Outputs got = Compute(device_, c);
    const reference::AttentionResult want = reference::Attention(c.in);
    const reference::AttentionGrad grad = reference::AttentionBackward(c.in, c.dout);
    // A score is off by at most `score`, a probability by twice that relatively; sums over keys and
    // over the head size add one rounding each.
    const double d = static_cast<double>(s.head_dim), t = static_cast<double>(s.kv_len);
    const double dot = d * MaxAbs(c.in.q) * MaxAbs(c.in.k) * c.in.scale;
    const double score = (d + 4) * kUnit * dot;
    const double relative = 2 * score + (t + d + 32) * kUnit;
    const auto bound = [&](const Mat& magnitude, double factor) {
      return Map(magnitude, [&](double x) { return factor * x + 1e-30; });
    };
    ExpectWithin("out", got.out.mat(), want.out,
                 Mat(want.out.rows, want.out.cols, relative * MaxAbs(c.in.v)));
    ExpectWithin("dv", got.dv.mat(), grad.dv, bound(grad.dv_magnitude, 2 * relative));
    ExpectWithin("dq", got.dq.mat(), grad.dq, bound(grad.dq_magnitude, 3 * relative));
    ExpectWithin("dk", got.dk.mat(), grad.dk, bound(grad.dk_magnitude, 3 * relative));
    for (const Buffer* b : {&got.out, &got.stats, &got.dq, &got.dk, &got.dv}) {
      EXPECT_TRUE(b->GuardsIntact());
    }
  }
}

TEST_P(AttentionTest, SameBitsForAnyThreads) {
  Device one;
  for (const Case& c : Cases()) {
    const Outputs a = Compute(one, c), b = Compute(device_, c);
    EXPECT_TRUE(a.out.SameBits(b.out));
    EXPECT_TRUE(a.stats.SameBits(b.stats));
    EXPECT_TRUE(a.dq.SameBits(b.dq));
    EXPECT_TRUE(a.dk.SameBits(b.dk));
    EXPECT_TRUE(a.dv.SameBits(b.dv));
  }
}

// Gradients that nobody wants are not written, and the others keep their bits.
TEST_P(AttentionTest, GradientsAreOptional) {
  const Case c = Cases()[1];
  const Outputs all = Compute(device_, c);
  for (int wanted : {0 + kDq, 0 + kDk, 0 + kDv, kDq | kDv}) {
    const Outputs some = Compute(device_, c, wanted);
    const Buffer dead = Buffer::Poisoned(device_, c.in.k.rows, c.in.k.cols, 3);
    EXPECT_TRUE(some.dk.SameBits(wanted & kDk ? all.dk : dead)) << wanted;
    EXPECT_TRUE(some.dv.SameBits(wanted & kDv ? all.dv : dead)) << wanted;
    EXPECT_TRUE(some.dq.SameBits(
        wanted & kDq ? all.dq : Buffer::Poisoned(device_, c.in.q.rows, c.in.q.cols, 3)))
        << wanted;
  }
}

// Slots do not see each other: each alone gives the bits it has in the batch.
TEST_P(AttentionTest, SlotsAreIndependent) {
  const Case both = Cases()[0];
  const Outputs batch = Compute(device_, both);
  for (int64_t slot = 0; slot < 2; ++slot) {
    Case one = both;
    one.in.shape.slots = 1;
    for (Mat* m : {&one.in.q, &one.in.k, &one.in.v, &one.dout}) {
      m->rows /= 2;
      m->v = {m->v.begin() + slot * m->rows * m->cols,
              m->v.begin() + (slot + 1) * m->rows * m->cols};
    }
    const Outputs alone = Compute(device_, one);
    const Mat out = batch.out.mat(), dk = batch.dk.mat();
    const Mat out1 = alone.out.mat(), dk1 = alone.dk.mat();
    for (size_t i = 0; i < out1.v.size(); ++i) {
      ASSERT_EQ(out1.v[i], out.v[slot * out1.v.size() + i]);
      ASSERT_EQ(dk1.v[i], dk.v[slot * dk1.v.size() + i]);
    }
  }
}

BLOCKSTEP_OP_SUITE(AttentionTest);

}  // namespace
}  // namespace blockstep
