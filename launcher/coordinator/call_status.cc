#include "launcher/coordinator/call_status.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string_view>

#include "core/base/status.h"
#include "launcher/coordinator/channel.h"

namespace blockstep {
namespace {

constexpr double kProbeS = 2;  // longer than a process that runs is silent

// What is behind a port: libraries above TCP rarely say.
enum class Behind : uint8_t {
  kSilence,    // the kernel accepts connections for a process that is stopped, too
  kHttp2,      // it speaks first, as HTTP/2 without TLS does
  kOtherWords  // it answered something else, or closed the connection, as TLS does
};

class Socket {
 public:
  explicit Socket(int raw) : raw_(raw) {}
  Socket(const Socket&) = delete;
  ~Socket() {
    if (raw_ >= 0) close(raw_);
  }
  int get() const { return raw_; }

 private:
  int raw_;
};

// False: time ran out.
bool Ready(const Socket& socket, short events, double seconds) {
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + std::chrono::duration<double>(seconds);
  while (true) {
    const std::chrono::duration<double, std::milli> left = until - Clock::now();
    pollfd wait = {socket.get(), events, 0};
    const int ready = poll(&wait, 1, std::max(0, static_cast<int>(left.count())));
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

// 0: connected; else the error number.
int Connect(const Socket& socket, const addrinfo& to, double seconds) {
  int error = connect(socket.get(), to.ai_addr, to.ai_addrlen) == 0 ? 0 : errno;
  if (error != EINPROGRESS) return error;
  if (!Ready(socket, POLLOUT, seconds)) return ETIMEDOUT;
  socklen_t size = sizeof error;
  if (getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
  return error;
}

// HTTP/2 begins with a frame of SETTINGS, type 4, on stream 0. What is sent is no TLS record, so
// that TLS ends the connection at once.
Behind Listen(const Socket& socket, double seconds) {
  constexpr std::string_view kNoTls = "blockstep: who is there?\r\n\r\n";
  (void)send(socket.get(), kNoTls.data(), kNoTls.size(), MSG_NOSIGNAL);
  if (!Ready(socket, POLLIN, seconds)) return Behind::kSilence;
  std::array<char, 9> frame = {};
  const ssize_t got = recv(socket.get(), frame.data(), frame.size(), 0);
  const bool settings = got == static_cast<ssize_t>(frame.size()) && frame[0] == 0 &&
                        frame[3] == 4 &&
                        std::all_of(frame.begin() + 5, frame.end(), [](char c) { return c == 0; });
  return settings ? Behind::kHttp2 : Behind::kOtherWords;
}

// `address`: host:port. UNAVAILABLE says in the system's words why there is no connection within
// `seconds`, of which a name's look-up is no part; an answer may take as long again.
absl::StatusOr<Behind> Probe(const std::string& address, double seconds) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return InvalidArgument("expected host:port, got ", address);
  const std::string host = address.substr(0, colon);
  if (host == "unix") return Behind::kOtherWords;  // no TCP
  const absl::StatusOr<Addresses> found = Resolve(address, 0);
  if (!found.ok()) return Unavailable("cannot find host ", host, ": ", found.status().message());
  int error = 0;
  for (const addrinfo* to = found->get(); to != nullptr; to = to->ai_next) {
    const Socket one(socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    error = one.get() < 0 ? errno : Connect(one, *to, seconds);
    if (error == 0) return Listen(one, seconds);
  }
  return Unavailable("cannot connect: ", std::strerror(error));
}

}  // namespace

absl::Status ExplainCallFailure(const ChannelOptions& channel, const absl::Status& status) {
  if (!absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status)) return status;
  const std::string where = Cat("coordinator ", channel.address);
  const absl::StatusOr<Behind> behind = Probe(channel.address, kProbeS);
  if (!behind.ok()) {
    return Unavailable(where, ": ", behind.status().message(),
                       "; has the run ended, or is its host down?");
  }
  if (*behind == Behind::kSilence) {
    return DeadlineExceeded(
        where, ": accepted the connection but did not respond; is the process stopped?");
  }
  // Nothing is wrong with the connection.
  if (absl::IsDeadlineExceeded(status)) return status;
  if (channel.tls.empty() && *behind == Behind::kHttp2) return status;
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
