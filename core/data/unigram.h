// What a model that only knows how often each token occurs would score: the bar a trained one must
// clear.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/data/token_file.h"

namespace blockstep {

// Occurrences of each id of the file, vocab_size() of them.
absl::StatusOr<std::vector<int64_t>> CountTokens(const TokenFile& file);

// -sum p ln p in nats per token, p = count / total: the best a unigram model fitted to these very
// tokens can do; its exp is the unigram perplexity. 0 without tokens.
double UnigramCrossEntropy(absl::Span<const int64_t> counts);

}  // namespace blockstep
