// host:port, the host perhaps in brackets, as the system's resolver knows it.
#pragma once

#include <netdb.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace blockstep {

struct FreeAddresses {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

// Stream sockets' addresses; `flags`: of addrinfo, AI_PASSIVE to listen. NOT_FOUND has the
// resolver's words alone.
absl::StatusOr<Addresses> Resolve(const std::string& address, int flags);

}  // namespace blockstep
