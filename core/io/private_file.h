// A small file that only its owner reads, from its first byte on: keys, contacts.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace blockstep {

// Replaces `path` by a file of mode 0600; the old text or the new one is there, never a mixture.
absl::Status WritePrivateFile(const std::string& path, std::string_view text);

}  // namespace blockstep
