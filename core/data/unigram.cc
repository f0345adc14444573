#include "core/data/unigram.h"

#include <algorithm>
#include <cmath>

#include "core/base/status.h"

namespace blockstep {

absl::StatusOr<std::vector<int64_t>> CountTokens(const TokenFile& file) {
  constexpr int64_t kChunk = 1 << 14;
  std::vector<int64_t> counts(file.vocab_size(), 0);
  std::vector<int32_t> ids(kChunk);
  for (int64_t first = 0; first < file.tokens(); first += kChunk) {
    const int64_t count = std::min(kChunk, file.tokens() - first);
    const absl::Span<int32_t> chunk = absl::MakeSpan(ids.data(), count);
    RETURN_IF_ERROR(file.Read(first, chunk));
    for (const int32_t id : chunk) ++counts[id];
  }
  return counts;
}

double UnigramCrossEntropy(absl::Span<const int64_t> counts) {
  double total = 0, weighted = 0;  // N and sum of c ln c: H = ln N - (sum c ln c) / N
  for (const int64_t count : counts) {
    if (count == 0) continue;
    total += static_cast<double>(count);
    weighted += static_cast<double>(count) * std::log(static_cast<double>(count));
  }
  return total == 0 ? 0 : std::log(total) - weighted / total;
}

}  // namespace blockstep
