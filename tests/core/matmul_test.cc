#include "core/ops/matmul.h"

#include <filesystem>
#include <thread>

#include "core/ops/cpu/tile_gemm.h"
#include "tests/core/op_harness.h"
#include "tests/sanitized.h"

namespace blockstep {
namespace {

using reference::Mat;

struct Shape {
  int64_t m, n, k;
};
const Shape kShapes[] = {{1, 1, 1},    {64, 64, 64}, {65, 1, 7},     {3, 33, 1},
                         {130, 17, 5}, {1, 96, 40},  {200, 48, 129}, {70, 2100, 9}};

const Transpose kBoth[] = {Transpose::kNo, Transpose::kYes};

Buffer Stored(Device& device, const Mat& m, Transpose t, int64_t pad) {
  return Buffer(device, t == Transpose::kYes ? reference::Transposed(m) : m, pad);
}

// (K + 4) roundings of terms that sum to |A| |B|, and of what was there.
Mat Bound(const Mat& a, const Mat& b, const Mat& old) {
  Mat bound = Matmul(Abs(a), Abs(b));
  for (size_t i = 0; i < bound.v.size(); ++i) {
    bound.v[i] = (static_cast<double>(a.cols) + 4) * kUnit * (bound.v[i] + std::fabs(old.v[i]));
  }
  return bound;
}

using MatmulTest = OpTest;

TEST_P(MatmulTest, MatchesTheReference) {
  for (const Shape& s : kShapes) {
    const Mat a = RandomMat(s.m, s.k, 1), b = RandomMat(s.k, s.n, 2), old = RandomMat(s.m, s.n, 3);
    const Mat product = Matmul(a, b), none(s.m, s.n);
    const Mat assign_bound = Bound(a, b, none), add_bound = Bound(a, b, old);
    for (Transpose ta : kBoth) {
      for (Transpose tb : kBoth) {
        for (float alpha : {1.0f, -0.75f}) {
          Buffer pa = Stored(device_, a, ta, 2), pb = Stored(device_, b, tb, 5);
          Buffer assigned = Buffer::Poisoned(device_, s.m, s.n, 1), added(device_, old, 1);
          MatmulArgs args = {.a = pa.view(),
                             .b = pb.view(),
                             .d = assigned.view(),
                             .trans_a = ta,
                             .trans_b = tb,
                             .alpha = alpha};
          kernels_.matmul(stream_, args);
          args.d = added.view();
          args.accumulate = Accumulate::kAdd;
          kernels_.matmul(stream_, args);
          Sync();
          Mat want = Map(product, [&](double x) { return alpha * x; });
          ExpectWithin("=", assigned.mat(), want, assign_bound);
          for (size_t i = 0; i < want.v.size(); ++i) want.v[i] += old.v[i];
          ExpectWithin("+=", added.mat(), want, add_bound);
          EXPECT_TRUE(assigned.GuardsIntact() && added.GuardsIntact());
        }
      }
    }
  }
}

// Whatever rows are asked for, on however many threads, a row has the same bits.
TEST_P(MatmulTest, RowsDoNotDependOnTheirRange) {
  Device one;
  // The later ones are large enough for calls of several row tiles; parts of them are not.
  std::vector<Shape> shapes = {{300, 70, 96}, {260, 192, 384}, {520, 1030, 40}};
  if (!testing::kSanitized) shapes.insert(shapes.end(), {{1030, 640, 1376}, {300, 2100, 4099}});
  for (const Shape& s : shapes) {
    const Mat a = RandomMat(s.m, s.k, 1), b = RandomMat(s.k, s.n, 2);
    for (Transpose ta : kBoth) {
      for (Transpose tb : kBoth) {
        for (Accumulate acc : {Accumulate::kAssign, Accumulate::kAdd}) {
          const Mat start = RandomMat(s.m, s.n, 3);
          const Buffer pa1 = Stored(one, a, ta, 0), pb1 = Stored(one, b, tb, 0), all(one, start);
          one.kernels().matmul(*one.stream, {.a = pa1.view(),
                                             .b = pb1.view(),
                                             .d = all.view(),
                                             .trans_a = ta,
                                             .trans_b = tb,
                                             .accumulate = acc});
          const std::vector<float> whole = all.values();
          const Buffer pa = Stored(device_, a, ta, 0), pb = Stored(device_, b, tb, 0);
          for (Range r : {Range{0, 64}, Range{64, s.m}, Range{128, 256}, Range{192, s.m}}) {
            const Buffer d(device_, start);
            const TensorView a_rows = ta == Transpose::kYes ? pa.view().Cols(r.begin, r.end)
                                                            : pa.view().Rows(r.begin, r.end);
            kernels_.matmul(stream_, {.a = a_rows,
                                      .b = pb.view(),
                                      .d = d.view().Rows(r.begin, r.end),
                                      .trans_a = ta,
                                      .trans_b = tb,
                                      .accumulate = acc,
                                      .first_row = r.begin});
            const std::vector<float> rows = d.values();
            for (int64_t i = r.begin; i < r.end; ++i) {
              ASSERT_EQ(std::memcmp(&rows[i * s.n], &whole[i * s.n], s.n * sizeof(float)), 0)
                  << "row " << i << " of [" << r.begin << ", " << r.end << ")";
            }
          }
        }
      }
    }
  }
}

TEST_P(MatmulTest, PackedWeightsGiveTheProduct) {
  for (const Shape& s :
       {Shape{130, 48, 33}, Shape{64, 2100, 24}, Shape{5, 4096, 16}, Shape{1, 1, 1}}) {
    for (Transpose tb : kBoth) {
      const Mat a = RandomMat(s.m, s.k, 1), b = RandomMat(s.k, s.n, 2);
      Buffer pa(device_, a), pb = Stored(device_, b, tb, 3),
                             d = Buffer::Poisoned(device_, s.m, s.n);
      PackWeightArgs pack = {.b = pb.view(), .trans_b = tb, .rows_per_call = s.m};
      const DeviceArray<char> packed(device_, std::vector<char>(kernels_.packed_bytes(pack)));
      pack.out = packed.data();
      const PackedWeight weight = {.data = pack.out, .k = s.k, .n = s.n};
      kernels_.pack_weight(stream_, pack);
      kernels_.matmul(
          stream_,
          {.a = pa.view(), .b = pb.view(), .d = d.view(), .trans_b = tb, .packed_b = weight});
      Sync();
      ExpectWithin("packed", d.mat(), Matmul(a, b), Bound(a, b, Mat(s.m, s.n)));
    }
  }
}

TEST_P(MatmulTest, EmptyShapes) {
  Buffer a(device_, 3, 1), b(device_, 1, 4), d(device_, RandomMat(3, 4, 1));
  const Buffer before = d;
  MatmulArgs args = {.a = a.view().Cols(0, 0),
                     .b = b.view().Rows(0, 0),
                     .d = d.view(),
                     .accumulate = Accumulate::kAdd};
  kernels_.matmul(stream_, args);
  Sync();
  EXPECT_TRUE(d.SameBits(before)) << "an empty sum was added";
  args.accumulate = Accumulate::kAssign;
  kernels_.matmul(stream_, args);
  Sync();
  EXPECT_EQ(MaxAbs(d.mat()), 0);
  args.a = a.view().Rows(0, 0);
  args.d = d.view().Rows(0, 0);
  args.b = TensorView::Of(b.data(), DType::kF32, 1, 4);
  kernels_.matmul(stream_, args);  // no rows
  Sync();
}

BLOCKSTEP_OP_SUITE(MatmulTest);

// No shape may end in the library's naive loops: they are a hundred times slower.
TEST(TileGemm, NeverTheNaiveCode) {
  for (int64_t m : {64, 37, 1}) {
    for (int64_t n : {1, 3, 64, 512, 1376, 2100}) {
      for (int64_t k : {1, 5, 64, 512}) {
        for (Accumulate acc : {Accumulate::kAssign, Accumulate::kAdd}) {
          for (int flags = 0; flags < 8; ++flags) {
            cpu::TileShape s = {.m = m, .n = n, .k = k, .accumulate = acc};
            s.trans_a = flags & 1 ? Transpose::kYes : Transpose::kNo;
            s.trans_b = flags & 2 ? Transpose::kYes : Transpose::kNo;
            const int64_t pad = flags & 4 ? 32 : 0;
            s.lda = (flags & 1 ? m : k) + pad;
            s.ldb = (flags & 2 ? k : n) + pad;
            s.ldd = n + pad;
            const std::string name = cpu::TileGemm::For(s).implementation();
            EXPECT_EQ(name.find("ref"), std::string::npos)
                << name << " m " << m << " n " << n << " k " << k << " flags " << flags;
          }
          const cpu::TileShape packed = {
              .m = m, .n = n, .k = k, .lda = k, .ldd = n, .accumulate = acc, .packed_b = true};
          const std::string name = cpu::TileGemm::For(packed).implementation();
          EXPECT_EQ(name.find("ref"), std::string::npos)
              << name << " packed m " << m << " n " << n << " k " << k;
        }
      }
    }
  }
}

int ProcessThreads() {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    (void)entry;
    ++count;
  }
  return count;
}

// The library must not bring a team of its own: only the pool's threads exist.
TEST(MatmulThreads, OnlyThePoolsThreads) {
  std::thread([] {}).join();  // a sanitizer's own thread starts with the first
  const int before = ProcessThreads();
  Device device("cpu", 3);
  Buffer a(device, RandomMat(512, 64, 1)), b(device, RandomMat(64, 256, 2)), d(device, 512, 256);
  for (int i = 0; i < 3; ++i) {
    device.kernels().matmul(*device.stream, {.a = a.view(), .b = b.view(), .d = d.view()});
  }
  EXPECT_EQ(ProcessThreads(), before + 2);
}

}  // namespace
}  // namespace blockstep
