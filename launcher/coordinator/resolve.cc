#include "launcher/coordinator/resolve.h"

#include <sys/socket.h>

namespace blockstep {

absl::StatusOr<Addresses> Resolve(const std::string& address, int flags) {
  const size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  addrinfo wanted = {.ai_flags = flags, .ai_socktype = SOCK_STREAM};
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), address.substr(colon + 1).c_str(), &wanted, &found);
  if (error != 0) return absl::NotFoundError(gai_strerror(error));
  return Addresses(found);
}

}  // namespace blockstep
