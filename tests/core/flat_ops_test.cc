// Copies, sums, squared norms, AdamW; what the null backend counts; which backends there are.
#include "tests/core/op_harness.h"

namespace blockstep {
namespace {

using reference::Mat;

using FlatOpTest = OpTest;

struct Extent {
  int64_t rows, cols, pad;
};
const Extent kExtents[] = {{1, 1, 0}, {3, 17, 2}, {1, 70001, 0}, {300, 257, 0}, {300, 257, 4}};

TEST_P(FlatOpTest, AddCopyFill) {
  for (const Extent& e : kExtents) {
    const Mat a = RandomMat(e.rows, e.cols, 1), b = RandomMat(e.rows, e.cols, 2);
    Buffer src(device_, a, e.pad), sum(device_, b, 1),
        copy = Buffer::Poisoned(device_, e.rows, e.cols, e.pad),
        filled = Buffer::Poisoned(device_, e.rows, e.cols, e.pad);
    kernels_.add(stream_, {.src = src.view(), .dst = sum.view()});
    kernels_.copy(stream_, {.src = src.view(), .dst = copy.view()});
    kernels_.fill(stream_, {.dst = filled.view(), .value = 2.5f});
    Sync();
    Mat want = b;
    for (size_t i = 0; i < want.v.size(); ++i) {
      want.v[i] = static_cast<float>(a.v[i]) + static_cast<float>(b.v[i]);
    }
    EXPECT_EQ(sum.mat().v, want.v);
    EXPECT_TRUE(copy.SameBits(src));
    EXPECT_EQ(filled.mat().v, Mat(e.rows, e.cols, 2.5).v);
    EXPECT_TRUE(sum.GuardsIntact() && copy.GuardsIntact() && filled.GuardsIntact());
  }
}

TEST_P(FlatOpTest, AdamW) {
  for (const Extent& e : kExtents) {
    const Mat grad = RandomMat(e.rows, e.cols, 1);
    reference::AdamWState want = {RandomMat(e.rows, e.cols, 2), RandomMat(e.rows, e.cols, 3, 0.1),
                                  reference::Map(RandomMat(e.rows, e.cols, 4, 0.1), [](double x) {
                                    return static_cast<float>(x * x);
                                  })};
    Buffer p(device_, want.p, e.pad), m(device_, want.m, e.pad), v(device_, want.v, e.pad),
        g(device_, grad, e.pad);
    const float scale = 0.125f;
    const DeviceArray<float> scale_there(device_, {scale});
    for (int64_t step : {1, 2, 1000}) {
      const AdamWArgs args = {.param = p.view(),
                              .grad = g.view(),
                              .m = m.view(),
                              .v = v.view(),
                              .lr = 1e-2f,
                              .beta2 = 0.95f,
                              .weight_decay = 0.1f,
                              .step = step,
                              .grad_scale = scale_there.data()};
      kernels_.adamw(stream_, args);
      Sync();
      want = reference::AdamW(
          want, grad, {args.lr, args.beta1, args.beta2, args.eps, args.weight_decay, scale, step});
    }
    // Every step rounds each moment a few times; an update is at most about lr / (1 - beta1).
    const double lr = 1e-2;
    ExpectWithin("m", m.mat(), want.m, Mat(e.rows, e.cols, 3 * 4 * kUnit * MaxAbs(want.m)));
    ExpectRelative("v", v.mat(), want.v, 3 * 6);
    ExpectWithin("p", p.mat(), want.p,
                 Mat(e.rows, e.cols, 3 * kUnit * (3 * MaxAbs(want.p) + 64 * 10 * lr)));
    EXPECT_TRUE(p.GuardsIntact() && m.GuardsIntact() && v.GuardsIntact() && g.GuardsIntact());
  }
}

TEST_P(FlatOpTest, SquaredNormIsTheSameForEverySplit) {
  const int64_t n = 256 * 300 + 100;
  Buffer x(device_, RandomMat(1, n, 1));
  double exact = 0;
  for (double value : x.mat().v) exact += value * value;
  const auto sum_of = [&](const std::vector<TensorView>& parts) {
    const DeviceArray<ExactSum> sum(device_, {ExactSum{}});
    for (const TensorView& part : parts) {
      kernels_.squared_norm(stream_, {.x = part, .sum = sum.data()});
    }
    return sum.Read()[0];
  };
  const ExactSum whole = sum_of({x.view()});
  EXPECT_NEAR(whole.ToDouble(), exact, 1e-12 * exact);
  for (int64_t quanta : {1, 7, 128, 299}) {
    std::vector<TensorView> parts;
    // The last part first: no order is special.
    for (int64_t end = n, begin; end > 0; end = begin) {
      begin = (end - 1) / (256 * quanta) * (256 * quanta);
      parts.push_back(x.view().Cols(begin, end));
    }
    const ExactSum sum = sum_of(parts);
    EXPECT_EQ(sum.lo, whole.lo) << quanta;
    EXPECT_EQ(sum.hi, whole.hi) << quanta;
  }
  x.Set(256 * 5 + 3, std::numeric_limits<float>::quiet_NaN());
  x.Set(256 * 5 + 9, std::numeric_limits<float>::infinity());
  x.Set(n - 1, -std::numeric_limits<float>::infinity());
  EXPECT_EQ(sum_of({x.view()}).bad, 2) << "quanta with a non-finite element";
}

// Against double, and the same bits for every split on quanta.
TEST_P(FlatOpTest, AdamNormIsTheSameForEverySplit) {
  const int64_t n = 256 * 200 + 77;
  Buffer m(device_, RandomMat(1, n, 1, 1e-3));
  Buffer v(device_, reference::Map(RandomMat(1, n, 2, 1e-3), [](double x) { return x * x; }));
  for (const int64_t step : {1, 3, 5000}) {
    AdamNormArgs args = {.m = m.view(), .v = v.view(), .beta2 = 0.95f, .eps = 1e-6f, .step = step};
    const double want = reference::AdamNorm(m.mat(), v.mat(), args.beta1, args.beta2, args.eps,
                                            static_cast<double>(step));
    const auto sum_of = [&](const std::vector<Range>& parts) {
      const DeviceArray<ExactSum> sum(device_, {ExactSum{}});
      args.sum = sum.data();
      for (const Range& part : parts) {
        args.m = m.view().Cols(part.begin, part.end);
        args.v = v.view().Cols(part.begin, part.end);
        kernels_.adam_norm(stream_, args);
      }
      return sum.Read()[0];
    };
    const ExactSum whole = sum_of({{0, n}});
    EXPECT_NEAR(whole.ToDouble(), want, 1e-12 * want) << step;
    for (const int64_t quanta : {1, 7, 128, 199}) {
      std::vector<Range> parts;
      for (int64_t end = n, begin; end > 0; end = begin) {
        begin = (end - 1) / (256 * quanta) * (256 * quanta);
        parts.push_back({begin, end});
      }
      const ExactSum sum = sum_of(parts);
      EXPECT_EQ(sum.lo, whole.lo) << quanta;
      EXPECT_EQ(sum.hi, whole.hi) << quanta;
    }
  }
  m.Set(256 * 9 + 1, std::numeric_limits<float>::quiet_NaN());
  const DeviceArray<ExactSum> sum(device_, {ExactSum{}});
  kernels_.adam_norm(stream_, {.m = m.view(), .v = v.view(), .sum = sum.data()});
  EXPECT_EQ(sum.Read()[0].bad, 1);
}

BLOCKSTEP_OP_SUITE(FlatOpTest);

TEST(NullBackend, CountsAndTouchesNothing) {
  Device device("null");
  void* memory = device.backend->device.reserve(1 << 20).value();
  const TensorView a = TensorView::Of(memory, DType::kF32, 8, 16);
  const TensorView b = TensorView::Of(memory, DType::kF32, 16, 4);
  const TensorView d = TensorView::Of(memory, DType::kF32, 8, 4);
  NullCounters() = {};
  device.kernels().matmul(*device.stream, {.a = a, .b = b, .d = d});
  device.kernels().matmul(*device.stream, {.a = a,
                                           .b = a,
                                           .d = TensorView::Of(memory, DType::kF32, 16, 16),
                                           .trans_a = Transpose::kYes,
                                           .accumulate = Accumulate::kAdd});
  EXPECT_EQ(NullCounters().matmuls, 2);
  EXPECT_EQ(NullCounters().flops, 2 * 8 * 16 * 4 + 2 * 16 * 8 * 16);
  EXPECT_EQ(NullCounters().bytes, 4 * (8 * 16 + 16 * 4 + 8 * 4 + 2 * 8 * 16 + 2 * 16 * 16));
  const AttentionShape s = {
      .slots = 1, .q_len = 4, .kv_len = 6, .q_offset = 2, .heads = 2, .kv_heads = 1, .head_dim = 8};
  NullCounters() = {};
  device.kernels().attention_forward(*device.stream, {.shape = s});
  EXPECT_EQ(NullCounters().flops, 4 * 2 * (3 + 4 + 5 + 6) * 8);
  device.kernels().adamw(*device.stream, {.param = a, .grad = a, .m = a, .v = a});
  device.backend->device.release(memory, 1 << 20);
}

TEST(Backends, AreFoundByName) {
  for (const char* name : {"cpu", "guarded", "null"}) {
    const auto backend = FindBackend(name);
    ASSERT_TRUE(backend.ok());
    EXPECT_STREQ((*backend)->name, name);
    // Every op of the base kernels is there.
    const auto* ops = reinterpret_cast<void* const*>((*backend)->kernels);
    for (size_t i = 0; i < sizeof(KernelTable) / sizeof(void*); ++i)
      EXPECT_NE(ops[i], nullptr) << i;
  }
  EXPECT_EQ(FindBackend("tpu").status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace blockstep
