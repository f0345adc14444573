// Text from parts, and the one place where absl's and std's string_view meet: Debian's absl has a
// string_view of its own, newer distributions alias it to std's; our API speaks std::string_view.
#pragma once

#include <sstream>
#include <string>
#include <string_view>

#include "absl/strings/string_view.h"

namespace blockstep {

inline std::string_view Std(absl::string_view s) { return {s.data(), s.size()}; }

// Cat("row ", 3, " of ", 7) == "row 3 of 7".
template <typename... Parts>
std::string Cat(const Parts&... parts) {
  std::ostringstream out;
  ((out << parts), ...);
  return std::move(out).str();
}

}  // namespace blockstep
