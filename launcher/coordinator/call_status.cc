#include "launcher/coordinator/call_status.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/base/status.h"
#include "launcher/coordinator/channel.h"

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

// Whether anybody listens there: libraries above TCP rarely say. `address`: host:port. UNAVAILABLE
// says in the system's words why there is no connection within `seconds`, of which a name's look-up
// is no part.
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

}  // namespace

absl::Status ExplainCallFailure(const ChannelOptions& channel, const absl::Status& status) {
  if (!absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status)) return status;
  const std::string where = Cat("coordinator ", channel.address);
  const auto says = [&](std::string_view text) {
    return Std(status.message()).find(text) != std::string_view::npos;
  };
  // The kernel accepts connections for a stopped process.
  const bool silent = absl::IsDeadlineExceeded(status) || says("timed out before receiving") ||
                      says("Handshake read failed");
  if (const absl::Status port = TcpProbe(channel.address, 1.0); !port.ok()) {
    return Unavailable(where, ": ", port.message(), "; has the run ended, or is its host down?");
  }
  if (silent) {
    return DeadlineExceeded(
        where, ": accepted the connection but did not respond; is the process stopped?");
  }
  if (channel.tls.empty()) {
    return absl::UnauthenticatedError(Cat(
        where,
        ": accepted the connection but does not speak plaintext; pass --tls with certificates of "
        "its authority, or check the address"));
  }
  return absl::UnauthenticatedError(
      Cat(where,
          ": TLS handshake failed; expected unexpired certificates of one authority on both sides, "
          "and a server certificate for ",
          channel.tls_name.empty() ? "that host" : channel.tls_name));
}

}  // namespace blockstep
