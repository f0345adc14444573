// Which file this is, without reading all of it.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace blockstep {

// SHA-256 over the file's size and bytes: all of them up to 4 MiB, else 64 blocks of 4 KiB, evenly
// spaced from the first byte to the last, so that a terabyte costs what a megabyte does. Tells one
// file from another that was made from other text or by another tokenizer; a change of a few bytes
// inside a large one may go unseen.
absl::StatusOr<std::string> SampledSha256(const std::string& path);

}  // namespace blockstep
