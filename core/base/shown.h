// Text from outside as a message shows it: a name of a megabyte or a terminal's escape sequence in
// a hostile file must not become the message.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "core/base/str.h"

namespace blockstep {

inline constexpr size_t kShownBytes = 120;

// `text` on one line: control characters as \xNN, and what is longer than kShownBytes is truncated,
// with its length. UTF-8 stays as it is.
inline std::string Shown(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string shown;
  size_t end = std::min(text.size(), kShownBytes);
  // Not within a character of several bytes.
  while (end < text.size() && end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) {
    --end;
  }
  for (const char c : text.substr(0, end)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      shown += c;
    } else {
      shown += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  if (end < text.size()) shown += Cat("... (", text.size(), " bytes)");
  return shown;
}

}  // namespace blockstep
