#include "launcher/coordinator/tcp_probe.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/base/status.h"
#include "launcher/coordinator/resolve.h"

namespace blockstep {
namespace {

// The error number of one connection; 0: it stands.
int Connect(const addrinfo& to, double seconds) {
  const int raw = socket(to.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (raw < 0) return errno;
  int error = connect(raw, to.ai_addr, to.ai_addrlen) == 0 ? 0 : errno;
  if (error == EINPROGRESS) {
    pollfd wait = {raw, POLLOUT, 0};
    socklen_t size = sizeof error;
    if (poll(&wait, 1, static_cast<int>(seconds * 1e3)) <= 0) {
      error = ETIMEDOUT;
    } else if (getsockopt(raw, SOL_SOCKET, SO_ERROR, &error, &size) != 0) {
      error = errno;
    }
  }
  close(raw);
  return error;
}

}  // namespace

absl::Status TcpProbe(const std::string& address, double seconds) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return InvalidArgument("expected host:port, got ", address);
  const std::string host = address.substr(0, colon);
  if (host == "unix") return absl::OkStatus();  // no TCP
  const absl::StatusOr<Addresses> found = Resolve(address, 0);
  if (!found.ok()) return Unavailable("cannot find host ", host, ": ", found.status().message());
  int error = 0;
  for (const addrinfo* to = found->get(); to != nullptr; to = to->ai_next) {
    error = Connect(*to, seconds);
    if (error == 0) break;
  }
  if (error == 0) return absl::OkStatus();
  return Unavailable("cannot connect: ", std::strerror(error));
}

}  // namespace blockstep
