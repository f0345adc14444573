// RMSNorm, RoPE, SwiGLU, cross-entropy, embedding.
#include "tests/core/op_harness.h"

namespace blockstep {
namespace {

using reference::Mat;

const int64_t kWidths[] = {1, 7, 16, 33, 64, 100, 512};

using RowOpTest = OpTest;

TEST_P(RowOpTest, RmsNormForward) {
  for (int64_t cols : kWidths) {
    const int64_t n = cols == 512 ? 70 : 9;
    const Mat x = RandomMat(n, cols, 1), delta = RandomMat(n, cols, 2), w = RandomMat(1, cols, 3);
    Mat s = x;
    for (size_t i = 0; i < s.v.size(); ++i) {
      s.v[i] = static_cast<float>(x.v[i]) + static_cast<float>(delta.v[i]);
    }
    const reference::Norm want = reference::RmsNorm(s, w, 1e-5f);
    // Squares are summed in 64 lanes; a few roundings more for the root and the products.
    const double units = static_cast<double>(cols) / 64 + 16;
    Buffer bx(device_, x, 3), bd(device_, delta, 1), bw(device_, w),
        by = Buffer::Poisoned(device_, n, cols, 2), bs = Buffer::Poisoned(device_, n, cols),
        br = Buffer::Poisoned(device_, 1, n);
    kernels_.rms_norm_forward(stream_, {.x = bx.view(),
                                        .delta = bd.view(),
                                        .sum = bs.view(),
                                        .weight = bw.view(),
                                        .y = by.view(),
                                        .rstd = br.view()});
    Sync();
    ExpectRelative("y", by.mat(), want.y, units);
    ExpectRelative("rstd", br.mat(), want.rstd, units);
    ExpectRelative("sum", bs.mat(), s, 0);
    EXPECT_TRUE(by.GuardsIntact());

    // The sum in place of x, and nothing stored but y: the same bits.
    Buffer in_place = bx, y2 = Buffer::Poisoned(device_, n, cols, 2), y3 = y2;
    kernels_.rms_norm_forward(stream_, {.x = in_place.view(),
                                        .delta = bd.view(),
                                        .sum = in_place.view(),
                                        .weight = bw.view(),
                                        .y = y2.view()});
    kernels_.rms_norm_forward(
        stream_, {.x = bx.view(), .delta = bd.view(), .weight = bw.view(), .y = y3.view()});
    Sync();
    EXPECT_TRUE(y2.SameBits(by));
    EXPECT_TRUE(y3.SameBits(by));
    ExpectRelative("sum in place", in_place.mat(), s, 0);

    // Without a delta.
    Buffer y4 = Buffer::Poisoned(device_, n, cols, 2);
    kernels_.rms_norm_forward(stream_, {.x = bs.view(), .weight = bw.view(), .y = y4.view()});
    Sync();
    EXPECT_TRUE(y4.SameBits(by));
  }
}

TEST_P(RowOpTest, RmsNormBackward) {
  for (int64_t cols : kWidths) {
    const int64_t n = 37;
    const Mat s = RandomMat(n, cols, 1), dy = RandomMat(n, cols, 2), w = RandomMat(1, cols, 3);
    const Mat old = RandomMat(n, cols, 4), old_w = RandomMat(1, cols, 5);
    const reference::NormGrad want = reference::RmsNormBackward(dy, s, w, 1e-5f);
    const reference::Norm f = reference::RmsNorm(s, w, 1e-5f);
    // Rounded values that cancel: the terms' magnitudes carry the error.
    Mat dx_bound(n, cols), dw_bound(1, cols);
    for (int64_t i = 0; i < n; ++i) {
      double dot = 0;
      const double r = f.rstd(0, i), c = static_cast<double>(cols);
      for (int64_t j = 0; j < cols; ++j) dot += std::fabs(dy(i, j) * w(0, j) * s(i, j));
      for (int64_t j = 0; j < cols; ++j) {
        dx_bound(i, j) = (c / 64 + 24) * kUnit *
                         (r * std::fabs(dy(i, j) * w(0, j)) +
                          std::fabs(s(i, j)) * dot * r * r * r / c + std::fabs(old(i, j)));
        dw_bound(0, j) += (n + 16) * kUnit * std::fabs(dy(i, j) * s(i, j) * r);
      }
    }
    for (double& x : dw_bound.v) x += 2 * kUnit * 4;
    Buffer bdy(device_, dy, 1), bs(device_, s, 2), bw(device_, w), br(device_, f.rstd);
    for (Accumulate acc : {Accumulate::kAssign, Accumulate::kAdd}) {
      const bool add = acc == Accumulate::kAdd;
      Buffer dx = add ? Buffer(device_, old, 3) : Buffer::Poisoned(device_, n, cols, 3);
      Buffer dw = add ? Buffer(device_, old_w) : Buffer::Poisoned(device_, 1, cols);
      kernels_.rms_norm_backward(stream_, {.dy = bdy.view(),
                                           .s = bs.view(),
                                           .rstd = br.view(),
                                           .weight = bw.view(),
                                           .dx = dx.view(),
                                           .dx_accumulate = acc,
                                           .dweight = dw.view(),
                                           .dweight_accumulate = acc});
      Sync();
      Mat want_dx = want.dx, want_dw = want.dweight;
      for (size_t i = 0; add && i < old.v.size(); ++i) want_dx.v[i] += old.v[i];
      for (size_t i = 0; add && i < old_w.v.size(); ++i) want_dw.v[i] += old_w.v[i];
      ExpectWithin("dx", dx.mat(), want_dx, dx_bound);
      ExpectWithin("dweight", dw.mat(), want_dw, dw_bound);
      EXPECT_TRUE(dx.GuardsIntact() && dw.GuardsIntact());
    }
    // Each output alone.
    Buffer dx = Buffer::Poisoned(device_, n, cols, 3), dw = Buffer::Poisoned(device_, 1, cols);
    kernels_.rms_norm_backward(stream_, {.dy = bdy.view(),
                                         .s = bs.view(),
                                         .rstd = br.view(),
                                         .weight = bw.view(),
                                         .dx = dx.view()});
    kernels_.rms_norm_backward(stream_, {.dy = bdy.view(),
                                         .s = bs.view(),
                                         .rstd = br.view(),
                                         .weight = bw.view(),
                                         .dweight = dw.view()});
    Sync();
    ExpectWithin("dx alone", dx.mat(), want.dx, dx_bound);
    ExpectWithin("dweight alone", dw.mat(), want.dweight, dw_bound);
  }
}

TEST_P(RowOpTest, Rope) {
  for (int64_t d : {2, 6, 24, 32, 64, 90}) {
    const int64_t heads = 3, tokens = 5, offset = 2, n = 10;
    const Mat x = RandomMat(n, heads * d, 1), angle = RandomMat(tokens + offset, d / 2, 2);
    Buffer cos(device_, reference::Map(angle, [](double a) { return std::cos(a); }), 1);
    Buffer sin(device_, reference::Map(angle, [](double a) { return std::sin(a); }), 1);
    Buffer y(device_, x, 3);
    RopeArgs args = {.x = y.view(),
                     .heads = heads,
                     .head_dim = d,
                     .cos = cos.view(),
                     .sin = sin.view(),
                     .tokens_per_slot = tokens,
                     .position_offset = offset};
    kernels_.rope(stream_, args);
    Sync();
    const Mat want = reference::Rope(x, heads, cos.mat(), sin.mat(), tokens, offset, 1);
    const Mat bound(n, heads * d, 3 * kUnit * 2 * MaxAbs(x));
    ExpectWithin("rope", y.mat(), want, bound);
    args.direction = RopeDirection::kBackward;
    kernels_.rope(stream_, args);
    Sync();
    ExpectWithin("and back", y.mat(),
                 reference::Rope(want, heads, cos.mat(), sin.mat(), tokens, offset, -1),
                 Mat(n, heads * d, 12 * kUnit * 2 * MaxAbs(x)));
    EXPECT_TRUE(y.GuardsIntact());
  }
}

TEST_P(RowOpTest, SwiGlu) {
  for (int64_t cols : kWidths) {
    const int64_t n = cols == 512 ? 100 : 9;
    Mat gate = RandomMat(n, cols, 1, 4), up = RandomMat(n, cols, 2), dout = RandomMat(n, cols, 3);
    gate.v[0] = -100;  // exp overflows single precision there
    const Mat want = reference::SwiGlu(gate, up);
    const reference::SwiGluGrad grad = reference::SwiGluBackward(gate, up, dout);
    Buffer bg(device_, gate, 1), bu(device_, up, 2), bo(device_, dout),
        out = Buffer::Poisoned(device_, n, cols, 1), dg = Buffer::Poisoned(device_, n, cols),
        du = Buffer::Poisoned(device_, n, cols, 5);
    kernels_.swiglu_forward(stream_, {.gate = bg.view(), .up = bu.view(), .out = out.view()});
    kernels_.swiglu_backward(stream_, {.gate = bg.view(),
                                       .up = bu.view(),
                                       .dout = bo.view(),
                                       .dgate = dg.view(),
                                       .dup = du.view()});
    Sync();
    ExpectRelative("swiglu", out.mat(), want, 16, 1e-35);
    // The sum in dgate cancels near x = -1.28.
    ExpectWithin("dgate", dg.mat(), grad.dgate, [&] {
      Mat bound = gate;
      for (size_t i = 0; i < bound.v.size(); ++i) {
        const double s = reference::Sigmoid(gate.v[i]);
        bound.v[i] =
            24 * kUnit * std::fabs(dout.v[i] * up.v[i]) * s * (1 + std::fabs(gate.v[i]) * (1 - s)) +
            1e-35;
      }
      return bound;
    }());
    ExpectRelative("dup", du.mat(), grad.dup, 16, 1e-35);
    EXPECT_TRUE(out.GuardsIntact() && dg.GuardsIntact() && du.GuardsIntact());

    // Outputs over inputs; one output alone.
    Buffer g2 = bg, u2 = bu, o2 = bo, g3 = bg;
    kernels_.swiglu_forward(stream_, {.gate = g3.view(), .up = bu.view(), .out = g3.view()});
    kernels_.swiglu_backward(stream_, {.gate = g2.view(),
                                       .up = u2.view(),
                                       .dout = o2.view(),
                                       .dgate = u2.view(),
                                       .dup = g2.view()});
    Sync();
    EXPECT_EQ(g3.mat().v, out.mat().v);
    EXPECT_EQ(u2.mat().v, dg.mat().v);
    EXPECT_EQ(g2.mat().v, du.mat().v);
    kernels_.swiglu_backward(
        stream_, {.gate = bg.view(), .up = bu.view(), .dout = o2.view(), .dup = o2.view()});
    Sync();
    EXPECT_EQ(o2.mat().v, du.mat().v);
  }
}

TEST_P(RowOpTest, CrossEntropy) {
  for (int64_t vocab : {1, 2, 16, 100, 1000, 32001}) {
    const int64_t n = 7;
    Mat logits = RandomMat(n, vocab, 1, 3);
    std::vector<int32_t> targets;
    for (int64_t i = 0; i < n; ++i) targets.push_back(static_cast<int32_t>((i * 7919) % vocab));
    targets[3] = -1;
    const double scale = 0.25;
    const reference::Loss want = reference::CrossEntropy(logits, targets, scale);
    const DeviceArray<int32_t> targets_there(device_, targets);
    Buffer x(device_, logits, 3), kept = x, loss = Buffer::Poisoned(device_, 1, n), loss2 = loss;
    CrossEntropyArgs args = {.logits = kept.view(),
                             .targets = targets_there.data(),
                             .loss = loss.data(),
                             .grad_scale = static_cast<float>(scale),
                             .grad = CrossEntropyGrad::kNone};
    kernels_.cross_entropy(stream_, args);
    Sync();
    EXPECT_TRUE(kept.SameBits(x)) << "logits were written without being asked to";
    args.logits = x.view();
    args.loss = loss2.data();
    args.grad = CrossEntropyGrad::kInPlace;
    kernels_.cross_entropy(stream_, args);
    Sync();
    EXPECT_TRUE(loss.SameBits(loss2));
    // The shifted logit is rounded once (half an ulp of up to 32), the sum in 64 lanes.
    const double units = static_cast<double>(vocab) / 64 + 48;
    ExpectWithin("loss", loss.mat(), want.loss, Mat(1, n, units * kUnit * 4));
    ExpectWithin("dlogits", x.mat(), want.grad, [&] {
      Mat bound = reference::Map(want.grad, [&](double g) { return units * kUnit * std::fabs(g); });
      for (int64_t i = 0; i < n; ++i) {
        if (targets[i] >= 0) bound(i, targets[i]) += units * kUnit * scale;
      }
      return bound;
    }());
    EXPECT_TRUE(x.GuardsIntact());
  }
}

TEST_P(RowOpTest, CrossEntropyShowsNonFiniteLogits) {
  const float bad[] = {std::numeric_limits<float>::quiet_NaN(),
                       std::numeric_limits<float>::infinity()};
  for (float value : bad) {
    for (int64_t at : {0, 5, 99}) {
      Buffer x(device_, RandomMat(1, 100, 1));
      x.Set(at, value);
      const DeviceArray<int32_t> target(device_, {7});
      const Buffer loss(device_, Mat(1, 1));
      kernels_.cross_entropy(stream_,
                             {.logits = x.view(), .targets = target.data(), .loss = loss.data()});
      EXPECT_FALSE(std::isfinite(loss.mat()(0, 0))) << value << " at " << at;
    }
  }
}

TEST_P(RowOpTest, Embedding) {
  const int64_t vocab = 50, cols = 70, n = 33;
  const Mat table = RandomMat(vocab, cols, 1), dout = RandomMat(n, cols, 2);
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < n; ++i) ids.push_back(static_cast<int32_t>((i * i) % vocab));
  const DeviceArray<int32_t> ids_there(device_, ids);
  Buffer t(device_, table, 2), out = Buffer::Poisoned(device_, n, cols, 1), d(device_, dout, 3);
  kernels_.embedding_forward(stream_,
                             {.table = t.view(), .ids = ids_there.data(), .out = out.view()});
  const Mat rows_of_ids = out.mat();
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t c = 0; c < cols; ++c) ASSERT_EQ(rows_of_ids(i, c), table(ids[i], c));
  }
  for (Range rows : {Range{0, vocab}, Range{10, 30}}) {
    for (Accumulate acc : {Accumulate::kAssign, Accumulate::kAdd}) {
      const Mat old = RandomMat(rows.size(), cols, 5);
      Buffer dt = acc == Accumulate::kAdd ? Buffer(device_, old, 1)
                                          : Buffer::Poisoned(device_, rows.size(), cols, 1);
      // The CPU's kernels add in fp32 and in token order: equal to the bit.
      std::vector<float> want(rows.size() * cols, 0.0f);
      if (acc == Accumulate::kAdd) want.assign(old.v.begin(), old.v.end());
      for (int64_t i = 0; i < n; ++i) {
        if (ids[i] < rows.begin || ids[i] >= rows.end) continue;
        for (int64_t c = 0; c < cols; ++c) {
          want[(ids[i] - rows.begin) * cols + c] += static_cast<float>(dout(i, c));
        }
      }
      kernels_.embedding_backward(stream_, {.dout = d.view(),
                                            .ids = ids_there.data(),
                                            .dtable = dt.view(),
                                            .first_row = rows.begin,
                                            .accumulate = acc});
      Sync();
      EXPECT_EQ(dt.mat().v, std::vector<double>(want.begin(), want.end()));
      EXPECT_TRUE(dt.GuardsIntact());
    }
  }
}

BLOCKSTEP_OP_SUITE(RowOpTest);

}  // namespace
}  // namespace blockstep
