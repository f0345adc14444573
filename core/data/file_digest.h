// Which file this is: at once without reading all of it, or for certain by reading it all.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace blockstep {

// The sampled digest: SHA-256 over the file's size and bytes, all of them up to 4 MiB, else 64
// blocks of 4 KiB, evenly spaced from the first byte to the last, so that a terabyte costs what a
// megabyte does. Tells one file from another that was made from other text or by another tokenizer;
// a change of a few bytes inside a large one may go unseen. Errors are File::OpenInput's.
absl::StatusOr<std::string> SampledSha256(const std::string& path);

// The full digest: SHA-256 of every byte, as `sha256sum` prints it. `go_on` is asked before each
// MiB; nothing if it said no. Needs a MiB of memory.
absl::StatusOr<std::optional<std::string>> FullSha256(const std::string& path,
                                                      const std::function<bool()>& go_on);

}  // namespace blockstep
