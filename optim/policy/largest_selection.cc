#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "core/base/check.h"
#include "optim/policy/worst_phases.h"

namespace blockstep {
namespace {

// Sums that can be made, as bits.
class Sums {
 public:
  explicit Sums(int64_t limit) : limit_(limit), words_(limit / 64 + 1) { words_[0] = 1; }
  bool has(int64_t sum) const { return sum >= 0 && (words_[sum / 64] >> (sum % 64) & 1) != 0; }
  // The sums with and without one more item.
  Sums With(int64_t item) const {
    Sums next = *this;
    const int64_t whole = item / 64, part = item % 64;
    for (int64_t w = static_cast<int64_t>(words_.size()) - 1; w >= whole; --w) {
      next.words_[w] |= words_[w - whole] << part;
      if (part > 0 && w > whole) next.words_[w] |= words_[w - whole - 1] >> (64 - part);
    }
    return next;
  }
  int64_t Largest() const {
    int64_t sum = limit_;
    while (!has(sum)) --sum;
    return sum;
  }

 private:
  int64_t limit_;
  std::vector<uint64_t> words_;
};

using Counts = std::map<int64_t, int64_t>;  // size in units -> how many

struct Best {
  int64_t sum = 0;
  Counts taken;
};

// The largest sum <= limit of items, at most `counts` of each size.
Best LargestSum(const Counts& counts, int64_t limit) {
  struct Chunk {
    int64_t size, count;
  };
  std::vector<Chunk> chunks;  // 1, 2, 4 ... of a size: any number of it is a sum of some
  for (const auto& [size, count] : counts) {
    int64_t left = count;
    for (int64_t n = 1; left > 0; n *= 2) {
      chunks.push_back({size, std::min(n, left)});
      left -= std::min(n, left);
    }
  }
  std::vector<Sums> before = {Sums(limit)};
  for (const Chunk& c : chunks) {
    const int64_t item = c.size * c.count;
    before.push_back(item > limit ? before.back() : before.back().With(item));
  }
  Best best{.sum = before.back().Largest()};
  int64_t sum = best.sum;
  for (size_t i = chunks.size(); i-- > 0;) {
    if (before[i].has(sum)) continue;
    best.taken[chunks[i].size] += chunks[i].count;
    sum -= chunks[i].size * chunks[i].count;
  }
  CHECK_EQ(sum, 0);
  return best;
}

}  // namespace

std::vector<int> LargestSelection(const std::vector<int64_t>& sizes, double budget) {
  int64_t unit = 0;
  for (const int64_t size : sizes) unit = std::gcd(unit, size);
  if (unit == 0 || budget <= 0) return {};
  Counts counts;
  for (const int64_t size : sizes) ++counts[size / unit];
  const auto limit = (static_cast<int64_t>(std::ceil(budget)) - 1) / unit;
  Best best;
  for (const auto& [crossing, count] : counts) {
    Counts rest = counts;
    --rest[crossing];
    Best b = LargestSum(rest, limit);
    b.sum += crossing;
    ++b.taken[crossing];
    if (b.sum > best.sum) best = std::move(b);
  }
  std::vector<int> selection;
  for (int i = 0; i < static_cast<int>(sizes.size()); ++i) {
    int64_t& left = best.taken[sizes[i] / unit];
    if (left == 0) continue;
    --left;
    selection.push_back(i);
  }
  return selection;
}

}  // namespace blockstep
