// Fixed grids: how an op's elements are split into items of the thread pool, by shape alone.
#pragma once

#include <algorithm>
#include <initializer_list>

#include "core/base/math.h"
#include "core/base/thread_pool.h"
#include "core/tensor/tensor_view.h"

namespace blockstep::cpu {

inline void CheckShape(const TensorView& v, int64_t rows, int64_t cols) {
  CHECK(v.defined());
  CHECK_EQ(v.rows, rows);
  CHECK_EQ(v.cols, cols);
  CHECK_LE(v.cols, v.ld);
}

// body(begin, end) over chunks of whole rows of about 16 Ki elements.
template <typename Body>
void ForRows(ThreadPool& pool, int64_t rows, int64_t cols, const Body& body) {
  const int64_t chunk = std::max<int64_t>(1, (int64_t{16} << 10) / std::max<int64_t>(cols, 1));
  pool.ParallelFor(DivCeil(rows, chunk),
                   [&](int64_t item) { body(item * chunk, std::min(rows, (item + 1) * chunk)); });
}

// body(row, col, n): contiguous spans of views of equal shape. Views that are all contiguous are
// one long row, split every 32 Ki elements.
template <typename Body>
void ForSpans(ThreadPool& pool, std::initializer_list<TensorView> views, const Body& body) {
  constexpr int64_t kSpan = int64_t{32} << 10;
  const TensorView& first = *views.begin();
  const bool flat =
      std::all_of(views.begin(), views.end(), [](const TensorView& v) { return v.contiguous(); });
  const int64_t rows = flat ? 1 : first.rows, cols = flat ? first.size() : first.cols;
  const int64_t spans = DivCeil(cols, kSpan);
  if (spans == 1 && rows > 1) {
    ForRows(pool, rows, cols, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) body(r, 0, cols);
    });
    return;
  }
  pool.ParallelFor(rows * spans, [&](int64_t item) {
    const int64_t begin = item % spans * kSpan;
    body(item / spans, begin, std::min(cols - begin, kSpan));
  });
}

}  // namespace blockstep::cpu
