// Checks whether an address accepts TCP connections, for error messages.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace blockstep {

// `address`: host:port. UNAVAILABLE says in the system's words why there is no connection within
// `seconds`, of which a name's look-up is no part.
absl::Status TcpProbe(const std::string& address, double seconds);

}  // namespace blockstep
