// The double references themselves: every backward against central differences of its forward.
#include "tests/core/reference.h"

#include "tests/core/op_harness.h"

namespace blockstep::reference {
namespace {

// d(loss)/d(x) by central differences, loss = <forward(x), dout>.
void ExpectGradient(const char* what, Mat x, const Mat& grad,
                    const std::function<double(const Mat&)>& loss) {
  constexpr double kStep = 1e-5;
  for (size_t i = 0; i < x.v.size(); ++i) {
    const double old = x.v[i];
    x.v[i] = old + kStep;
    const double up = loss(x);
    x.v[i] = old - kStep;
    const double down = loss(x);
    x.v[i] = old;
    ASSERT_NEAR(grad.v[i], (up - down) / (2 * kStep), 1e-7 * (1 + MaxAbs(grad)))
        << what << " element " << i;
  }
}

TEST(Reference, RmsNorm) {
  const Mat s = RandomMat(3, 7, 1), w = RandomMat(1, 7, 2), dy = RandomMat(3, 7, 3);
  const NormGrad g = RmsNormBackward(dy, s, w, 1e-5);
  ExpectGradient("dx", s, g.dx, [&](const Mat& x) { return Dot(RmsNorm(x, w, 1e-5).y, dy); });
  ExpectGradient("dw", w, g.dweight, [&](const Mat& x) { return Dot(RmsNorm(s, x, 1e-5).y, dy); });
}

TEST(Reference, Matmul) {
  const Mat a = RandomMat(3, 4, 1), b = RandomMat(4, 5, 2), dd = RandomMat(3, 5, 3);
  ExpectGradient("da", a, Matmul(dd, Transposed(b)),
                 [&](const Mat& x) { return Dot(Matmul(x, b), dd); });
  ExpectGradient("db", b, Matmul(Transposed(a), dd),
                 [&](const Mat& x) { return Dot(Matmul(a, x), dd); });
}

TEST(Reference, Rope) {
  const Mat x = RandomMat(4, 12, 1), dy = RandomMat(4, 12, 4), angle = RandomMat(5, 3, 2);
  const Mat cos = Map(angle, [](double a) { return std::cos(a); });
  const Mat sin = Map(angle, [](double a) { return std::sin(a); });
  ExpectGradient("dx", x, Rope(dy, 2, cos, sin, 2, 3, -1),
                 [&](const Mat& y) { return Dot(Rope(y, 2, cos, sin, 2, 3, 1), dy); });
}

TEST(Reference, SwiGlu) {
  const Mat gate = RandomMat(2, 5, 1), up = RandomMat(2, 5, 2), dout = RandomMat(2, 5, 3);
  const SwiGluGrad g = SwiGluBackward(gate, up, dout);
  ExpectGradient("dgate", gate, g.dgate, [&](const Mat& x) { return Dot(SwiGlu(x, up), dout); });
  ExpectGradient("dup", up, g.dup, [&](const Mat& x) { return Dot(SwiGlu(gate, x), dout); });
}

TEST(Reference, CrossEntropy) {
  const Mat logits = RandomMat(3, 6, 1);
  const std::vector<int32_t> targets = {4, -1, 0};
  ExpectGradient("dlogits", logits, CrossEntropy(logits, targets, 0.25).grad, [&](const Mat& x) {
    double sum = 0;
    for (double loss : CrossEntropy(x, targets, 0.25).loss.v) sum += 0.25 * loss;
    return sum;
  });
}

TEST(Reference, Attention) {
  AttentionInputs in;
  in.shape = {
      .slots = 2, .q_len = 3, .kv_len = 5, .q_offset = 2, .heads = 4, .kv_heads = 2, .head_dim = 3};
  in.q = RandomMat(6, 12, 1);
  in.k = RandomMat(10, 6, 2);
  in.v = RandomMat(10, 6, 3);
  in.scale = 0.7;
  in.first_key = {0, 1, 3, 0, 0, 4};
  const Mat dout = RandomMat(6, 12, 4);
  const AttentionGrad g = AttentionBackward(in, dout);
  const auto loss_of = [&](Mat AttentionInputs::*part) {
    return [&in, &dout, part](const Mat& x) {
      AttentionInputs changed = in;
      changed.*part = x;
      return Dot(Attention(changed).out, dout);
    };
  };
  ExpectGradient("dq", in.q, g.dq, loss_of(&AttentionInputs::q));
  ExpectGradient("dk", in.k, g.dk, loss_of(&AttentionInputs::k));
  ExpectGradient("dv", in.v, g.dv, loss_of(&AttentionInputs::v));
}

}  // namespace
}  // namespace blockstep::reference
