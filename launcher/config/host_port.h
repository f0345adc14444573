// Addresses as people write them.
#pragma once

#include <charconv>
#include <string_view>

namespace blockstep {

// host:port with a port of 0 to 65535 (libraries keep the lower 16 bits of a greater one and say
// nothing), or unix:path.
inline bool IsHostPort(std::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  if (address.substr(0, colon) == "unix") return true;
  int port = -1;
  const char* end = address.data() + address.size();
  const auto parsed = std::from_chars(address.data() + colon + 1, end, port);
  return parsed.ec == std::errc() && parsed.ptr == end && port >= 0 && port <= 65535;
}

inline constexpr std::string_view kHostPort = "host:port, the port from 0 to 65535";

}  // namespace blockstep
