#include "launcher/coordinator/http_server.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <deque>
#include <thread>
#include <vector>

#include "core/base/status.h"
#include "launcher/config/host_port.h"
#include "launcher/coordinator/channel.h"

namespace blockstep {
namespace {

using Clock = std::chrono::steady_clock;

const char* Reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 431:
      return "Request Header Fields Too Large";
    case 503:
      return "Service Unavailable";
    default:
      return "Internal Server Error";
  }
}

bool SameName(std::string_view a, std::string_view lower) {
  return std::equal(a.begin(), a.end(), lower.begin(), lower.end(), [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) == y;
  });
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Takes the first line off.
std::string_view Line(std::string_view& text) {
  const size_t end = text.find("\r\n");
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 2);
  return line;
}

// `text` up to and with the empty line. A reply of another status than 200 refuses it.
HttpReply ParseHttp(std::string_view text, HttpRequest* request) {
  const HttpReply bad{.status = 400, .body = "expected GET /path HTTP/1.1\n"};
  const std::string_view first = Line(text);
  const size_t space = first.find(' '), last = first.rfind(' ');
  if (space == std::string_view::npos || last == space) return bad;
  const std::string_view method = first.substr(0, space), version = first.substr(last + 1);
  const std::string_view target = first.substr(space + 1, last - space - 1);
  if (version.substr(0, 7) != "HTTP/1." || target.empty() || target[0] != '/') return bad;
  if (method != "GET") return {.status = 405, .body = "expected GET\n"};
  request->path = std::string(target.substr(0, target.find('?')));
  for (std::string_view line = Line(text); !line.empty(); line = Line(text)) {
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) return bad;
    if (SameName(line.substr(0, colon), "authorization")) {
      request->authorization = std::string(Trimmed(line.substr(colon + 1)));
    }
  }
  return {};
}

std::string HttpText(const HttpReply& reply) {
  std::string text =
      Cat("HTTP/1.1 ", reply.status, " ", Reason(reply.status), "\r\nContent-Type: ", reply.type,
          "\r\nContent-Length: ", reply.body.size(),
          "\r\nConnection: close\r\nCache-Control: no-store\r\n");
  if (reply.status == 405) text += "Allow: GET\r\n";
  if (!reply.challenge.empty()) text += Cat("WWW-Authenticate: ", reply.challenge, "\r\n");
  return text + "\r\n" + reply.body;
}

// Reads until the request is whole, writes the reply, then waits for the other side to close: to
// close first, with bytes unread, would take the reply from it.
struct Connection {
  int socket;
  Clock::time_point until;
  std::string in, out;
  size_t sent = 0;
  bool answered = false;

  short events() const { return answered && sent < out.size() ? POLLOUT : POLLIN; }
};

// A listening socket of host:port, and the port it got.
absl::StatusOr<int> Listen(const std::string& address, int* port) {
  if (!IsHostPort(address) || address.substr(0, address.rfind(':')) == "unix") {
    return InvalidArgument("http_address: expected ", kHostPort, ", got ", address);
  }
  const absl::StatusOr<Addresses> resolved = Resolve(address, AI_PASSIVE);
  if (!resolved.ok()) {
    return InvalidArgument("http_address ", address, ": ", resolved.status().message());
  }
  const addrinfo* found = resolved->get();
  const int listener = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  (void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_storage bound = {};
  socklen_t size = sizeof bound;
  const bool listens = bind(listener, found->ai_addr, found->ai_addrlen) == 0 &&
                       listen(listener, 64) == 0 &&
                       getsockname(listener, reinterpret_cast<sockaddr*>(&bound), &size) == 0;
  const int error = errno;
  if (!listens) {
    close(listener);
    return ResourceExhausted("http_address ", address, ": cannot listen: ", std::strerror(error));
  }
  *port = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(bound).sin6_port
                                            : reinterpret_cast<sockaddr_in&>(bound).sin_port);
  return listener;
}

}  // namespace

class HttpServer::Loop {
 public:
  Loop(HttpServerOptions options, int listener, int port)
      : o_(std::move(options)), listener_(listener), wake_(eventfd(0, EFD_CLOEXEC)), port_(port) {
    thread_ = std::thread([this] { Run(); });
  }
  ~Loop() {
    (void)eventfd_write(wake_, 1);
    thread_.join();
    for (const Connection& c : open_) close(c.socket);
    close(listener_);
    close(wake_);
  }
  int port() const { return port_; }

 private:
  void Run() {
    while (true) {
      std::vector<pollfd> polled = {{wake_, POLLIN, 0}, {listener_, POLLIN, 0}};
      for (const Connection& c : open_) polled.push_back({c.socket, c.events(), 0});
      if (poll(polled.data(), polled.size(), Patience()) < 0 && errno != EINTR) return;
      if (polled[0].revents != 0) return;
      for (size_t i = open_.size(); i-- > 0;) {
        const bool over = open_[i].until <= Clock::now();
        if (over || (polled[i + 2].revents != 0 && !Serve(open_[i]))) {
          close(open_[i].socket);
          open_.erase(open_.begin() + static_cast<std::ptrdiff_t>(i));
        }
      }
      if (polled[1].revents != 0) Accept();
    }
  }

  // Connections are in the order of their deadlines.
  int Patience() const {
    if (open_.empty()) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(open_[0].until - Clock::now());
    return static_cast<int>(std::max<int64_t>(0, left.count()));
  }

  void Accept() {
    const int socket = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if ((socket < 0 && (errno == EMFILE || errno == ENFILE)) || open_.size() >= o_.connections) {
      if (open_.empty()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));  // others have all the files
      } else {
        close(open_.front().socket);
        open_.pop_front();
      }
    }
    if (socket < 0) return;
    open_.push_back(
        {.socket = socket, .until = Clock::now() + std::chrono::milliseconds(o_.deadline_ms)});
  }

  // False: the connection has ended.
  bool Serve(Connection& c) {
    if (c.answered && c.sent < c.out.size()) return Write(c);
    char part[4096];
    const ssize_t got = recv(c.socket, part, sizeof part, 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) return false;
    if (c.answered) return true;
    c.in.append(part, static_cast<size_t>(got));
    const bool whole = c.in.find("\r\n\r\n") != std::string::npos;
    if (!whole && c.in.size() <= o_.request_bytes) return true;
    c.out = HttpText(whole ? Answer(c.in)
                           : HttpReply{.status = 431, .body = "the request is too long\n"});
    c.in.clear();
    c.answered = true;
    return Write(c);
  }

  HttpReply Answer(const std::string& text) const {
    HttpRequest request;
    const HttpReply refused = ParseHttp(text, &request);
    return refused.status == 200 ? o_.answer(request) : refused;
  }

  static bool Write(Connection& c) {
    const ssize_t wrote =
        send(c.socket, c.out.data() + c.sent, c.out.size() - c.sent, MSG_NOSIGNAL);
    if (wrote < 0) return errno == EAGAIN || errno == EINTR;
    c.sent += static_cast<size_t>(wrote);
    if (c.sent == c.out.size()) shutdown(c.socket, SHUT_WR);
    return true;
  }

  const HttpServerOptions o_;
  const int listener_, wake_, port_;
  std::deque<Connection> open_;  // of the thread
  std::thread thread_;
};

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(HttpServerOptions options) {
  int port = 0;
  ASSIGN_OR_RETURN(const int listener, Listen(options.address, &port));
  return std::unique_ptr<HttpServer>(
      new HttpServer(std::make_unique<Loop>(std::move(options), listener, port)));
}

HttpServer::HttpServer(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
HttpServer::~HttpServer() = default;
int HttpServer::port() const { return loop_->port(); }

}  // namespace blockstep
