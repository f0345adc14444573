#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "core/base/check.h"
#include "core/base/exact_sum.h"
#include "core/base/math.h"
#include "core/base/philox.h"
#include "core/base/sha256.h"
#include "core/base/status.h"
#include "core/base/thread_pool.h"
#include "core/base/trace.h"

namespace blockstep {
namespace {

TEST(ThreadPool, RunsEveryItemOnce) {
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int64_t items : {0, 1, 3, 1000}) {
      std::vector<std::atomic<int>> count(items);
      pool.ParallelFor(items, [&](int64_t i) { ++count[i]; });
      for (const auto& c : count) ASSERT_EQ(c, 1);
    }
  }
}

TEST(ThreadPool, WorkerIndexIsHeldByOneThreadAtATime) {
  ThreadPool pool(4);
  std::vector<std::atomic<int>> inside(4);
  std::atomic<int> clashes{0};
  std::mutex mutex;
  std::set<int> seen;
  const auto body = [&](int64_t, int worker) {
    ASSERT_GE(worker, 0);
    ASSERT_LT(worker, 4);
    if (inside[worker].fetch_add(1) != 0) ++clashes;
    std::this_thread::sleep_for(std::chrono::microseconds(50));
    inside[worker].fetch_sub(1);
    std::lock_guard lock(mutex);
    seen.insert(worker);
  };
  // Two callers, one of them with loops too short for the workers.
  std::thread other([&] {
    for (int i = 0; i < 100; ++i) pool.ParallelForWorker(1, body);
  });
  for (int i = 0; i < 20; ++i) pool.ParallelForWorker(40, body);
  other.join();
  EXPECT_EQ(clashes, 0);
  EXPECT_GT(seen.size(), 1u);
}

TEST(ThreadPool, TwoCallersTakeTurns) {
  ThreadPool pool(3);
  std::atomic<int64_t> sum{0};
  const auto call = [&] {
    for (int n = 0; n < 200; ++n) pool.ParallelFor(10, [&](int64_t i) { sum += i; });
  };
  std::thread a(call), b(call);
  a.join();
  b.join();
  EXPECT_EQ(sum, 2 * 200 * 45);
}

ExactSum SumOf(const std::vector<double>& values) {
  ExactSum s;
  for (double v : values) s.Add(v);
  return s;
}

TEST(ExactSum, OrderAndGroupingDoNotMatter) {
  std::mt19937_64 random(1);
  std::vector<double> values;
  for (int i = 0; i < 5000; ++i) {
    values.push_back(
        std::ldexp(static_cast<double>(random()) - 0x1p63, -60 - static_cast<int>(random() % 60)));
  }
  const ExactSum first = SumOf(values);
  for (int round = 0; round < 5; ++round) {
    std::shuffle(values.begin(), values.end(), random);
    const size_t cut = random() % values.size();
    ExactSum s = SumOf({values.begin() + static_cast<int64_t>(cut), values.end()});
    s.Add(SumOf({values.begin(), values.begin() + static_cast<int64_t>(cut)}));
    EXPECT_EQ(s.lo, first.lo);
    EXPECT_EQ(s.hi, first.hi);
  }
  // What plain addition loses stays.
  ExactSum s = SumOf({0x1p40, 0x1p-70, -0x1p40});
  EXPECT_EQ(s.ToDouble(), 0x1p-70);
  EXPECT_EQ(SumOf({-1.5, 0.25}).ToDouble(), -1.25);
}

TEST(ExactSum, CountsWhatDoesNotFit) {
  const double infinity = std::numeric_limits<double>::infinity();
  ExactSum s = SumOf({1, infinity, -infinity, std::nan(""), 0x1p42, -0x1p42});
  EXPECT_EQ(s.bad, 5);
  EXPECT_TRUE(std::isnan(s.ToDouble()));
  ExactSum other = SumOf({1});
  other.Add(s);
  EXPECT_EQ(other.bad, 5);
}

// However much is added after it outgrew its range: no limb overflows, and it stays counted.
TEST(ExactSum, GoesOnAfterItsRangeIsLeft) {
  for (const double sign : {1.0, -1.0}) {
    ExactSum sum = SumOf({sign * 0x1.8p41}), one = SumOf({sign * 0x1.8p41});
    for (int i = 0; i < 40; ++i) {
      sum.Add(sign * 0x1.fp41);
      sum.Add(sum);
      EXPECT_LE(std::abs(sum.hi), int64_t{1} << 62);
    }
    EXPECT_GT(sum.bad, 0);
    EXPECT_TRUE(std::isnan(sum.ToDouble()));
    EXPECT_EQ(one.bad, 0);
  }
}

// Random123's known answers.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(Philox4x32(0, {0, 0, 0, 0}),
            (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox4x32(~0ull, {~0u, ~0u, ~0u, ~0u}),
            (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32(0x299f31d0a4093822ull, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, DrawsDifferByEveryCoordinate) {
  std::set<uint64_t> words;
  for (uint64_t seed : {1, 2}) {
    for (RandomUse use : {RandomUse::kInit, RandomUse::kProbe}) {
      for (uint32_t stream : {0u, 1u}) {
        for (uint64_t index : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 32}) {
          words.insert(DrawU64(seed, use, stream, index));
        }
      }
    }
  }
  EXPECT_EQ(words.size(), 24u);
  EXPECT_EQ(UniformBelow(0, 10), 0u);
  EXPECT_EQ(UniformBelow(~0ull, 10), 9u);
}

TEST(Philox, NormalHasItsMoments) {
  double sum = 0, squares = 0;
  constexpr int kCount = 100000;
  for (int i = 0; i < kCount; ++i) {
    for (double x : NormalPair(Draw(5, RandomUse::kTest, 0, i))) {
      sum += x;
      squares += x * x;
    }
  }
  // Five standard errors of the mean and of the variance.
  EXPECT_NEAR(sum / (2 * kCount), 0, 5 / std::sqrt(2.0 * kCount));
  EXPECT_NEAR(squares / (2 * kCount), 1, 5 * std::sqrt(2 / (2.0 * kCount)));
}

TEST(Sha256, KnownAnswer) {
  Sha256 sha;
  sha.Update("a");
  sha.Update("bc");
  EXPECT_EQ(sha.Hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Hash64("abc"), 0xba7816bf8f01cfeaull);
}

TEST(Math, RangesCover) {
  for (int64_t n : {0, 1, 7, 100}) {
    int64_t next = 0;
    for (int64_t i = 0; i < 8; ++i) {
      const Range r = SplitEvenly(n, 8, i);
      EXPECT_EQ(r.begin, next);
      next = r.end;
    }
    EXPECT_EQ(next, n);
  }
  EXPECT_EQ(Intersect({0, 5}, {3, 9}), (Range{3, 5}));
  EXPECT_TRUE(Intersect({0, 3}, {5, 9}).empty());
  EXPECT_EQ(RoundUp(65, 64), 128);
}

absl::StatusOr<int> Half(int x) {
  if (x % 2 != 0) return InvalidArgument("expected an even value, got ", x);
  return x / 2;
}
absl::Status Quarter(int x, int* out) {
  ASSIGN_OR_RETURN(const int half, Half(x));
  ASSIGN_OR_RETURN(*out, Half(half));
  return absl::OkStatus();
}

TEST(Status, MacrosReturnTheFirstError) {
  int out = 0;
  EXPECT_TRUE(Quarter(8, &out).ok());
  EXPECT_EQ(out, 2);
  EXPECT_EQ(Quarter(6, &out).message(), "expected an even value, got 3");
  EXPECT_EQ(Annotate(Quarter(6, &out), "rank 2").message(),
            "rank 2: expected an even value, got 3");
  EXPECT_TRUE(Annotate(absl::OkStatus(), "rank 2").ok());
}

TEST(CheckDeathTest, PrintsBothValues) {
  const int a = 3;
  EXPECT_DEATH(CHECK_EQ(a, 4), "a == 4 \\(3 vs 4\\)");
}

TEST(Trace, RecordsSpansOnlyWithATracer) {
  Tracer tracer;
  { ScopedSpan span(&tracer, "compute", "layer 3"); }
  { ScopedSpan none(nullptr, "compute", "layer 4"); }
  ASSERT_EQ(tracer.spans().size(), 1u);
  EXPECT_EQ(tracer.spans()[0].name, "layer 3");
  EXPECT_LE(tracer.spans()[0].begin_ns, tracer.spans()[0].end_ns);
  EXPECT_FALSE(tracer.WriteJson("/no/such/folder/trace.json", 0).ok());
}

}  // namespace
}  // namespace blockstep
