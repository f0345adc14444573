#include "launcher/commands/tokenize/spm_process.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include "core/base/status.h"

extern char** environ;

namespace blockstep {
namespace {

constexpr int kSilenceMs = 60'000;

}  // namespace

absl::StatusOr<std::string> SpmProgramBesideMe() {
  std::array<char, PATH_MAX> path = {};
  const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
  if (length <= 0) return Internal("cannot read /proc/self/exe: ", std::strerror(errno));
  const std::string_view me(path.data(), static_cast<size_t>(length));
  return Cat(me.substr(0, me.rfind('/')), "/blockstep-spm");
}

absl::StatusOr<SpmProcess> SpmProcess::Start(const std::string& program, const std::string& model) {
  SpmProcess process;
  process.program_ = program;
  if (::access(program.c_str(), X_OK) != 0) {
    return NotFound("tokenizer program ", program, ": ", std::strerror(errno),
                    "; expected blockstep-spm beside blockstep, or --spm");
  }
  // A socket and not pipes: writing to a program that died is then an error, not a signal.
  int pair[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    return Internal("cannot make a socket pair: ", std::strerror(errno));
  }
  process.socket_ = pair[0];
  process.said_ = ::memfd_create("blockstep-spm", MFD_CLOEXEC);
  if (process.said_ < 0) return Internal("cannot make a memory file: ", std::strerror(errno));
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, pair[1], STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, pair[1], STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, process.said_, STDERR_FILENO);
  std::string program_copy = program, model_copy = model;
  char* const argv[] = {program_copy.data(), model_copy.data(), nullptr};
  const int error = ::posix_spawn(&process.pid_, program.c_str(), &actions, nullptr, argv, environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(pair[1]);
  if (error != 0) {
    process.pid_ = -1;
    return Internal("cannot run ", program, ": ", std::strerror(error));
  }
  const absl::Status hello = process.Receive(&process.hello_, sizeof(SpmHello));
  if (!hello.ok()) return Annotate(hello, Cat("tokenizer model ", model));
  if (process.hello_.magic != kSpmMagic) {
    return Internal(program, ": expected greeting ", kSpmMagic, ", got ", process.hello_.magic);
  }
  return process;
}

SpmProcess::~SpmProcess() {
  if (socket_ >= 0) ::close(socket_);
  if (said_ >= 0) ::close(said_);
  if (pid_ <= 0) return;
  // End of input ends it; one that hangs must not hang us.
  for (int i = 0; i < 200; ++i) {
    const pid_t got = ::waitpid(pid_, nullptr, WNOHANG);
    if (got == pid_ || (got < 0 && errno != EINTR)) return;
    ::usleep(i < 100 ? 100 : 10'000);
  }
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

SpmProcess::SpmProcess(SpmProcess&& other) noexcept
    : program_(std::move(other.program_)),
      pid_(std::exchange(other.pid_, -1)),
      socket_(std::exchange(other.socket_, -1)),
      said_(std::exchange(other.said_, -1)),
      hello_(other.hello_) {}

// One message for both programs: what the other one wrote to stderr is in ours.
std::string SpmProcess::Said() const {
  std::array<char, 1024> text = {};
  const ssize_t got = ::pread(said_, text.data(), text.size(), 0);
  std::string_view said(text.data(), static_cast<size_t>(std::max<ssize_t>(got, 0)));
  while (!said.empty() && (said.back() == '\n' || said.back() == ' ')) said.remove_suffix(1);
  return said.empty() ? Cat(program_, " ended early without a message") : std::string(said);
}

absl::Status SpmProcess::WaitFor(short events) const {
  while (true) {
    pollfd wait = {socket_, events, 0};
    const int ready = ::poll(&wait, 1, kSilenceMs);
    if (ready > 0) return absl::OkStatus();
    if (ready == 0) return DeadlineExceeded(program_, ": silent for ", kSilenceMs / 1000, " s");
    if (errno != EINTR) return Internal(program_, ": cannot poll: ", std::strerror(errno));
  }
}

absl::Status SpmProcess::Send(const void* data, size_t bytes) {
  const char* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t put = ::send(socket_, next, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (put < 0 && (errno == EAGAIN || errno == EINTR)) {
      RETURN_IF_ERROR(WaitFor(POLLOUT));
      continue;
    }
    if (put < 0) return Internal(program_, " ended: cannot send: ", std::strerror(errno));
    next += put;
    bytes -= static_cast<size_t>(put);
  }
  return absl::OkStatus();
}

absl::Status SpmProcess::Receive(void* data, size_t bytes) {
  char* next = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got = ::recv(socket_, next, bytes, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
      RETURN_IF_ERROR(WaitFor(POLLIN));
      continue;
    }
    if (got < 0) return Internal(program_, ": cannot receive: ", std::strerror(errno));
    if (got == 0) return DataLoss(Said());
    next += got;
    bytes -= static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int32_t>> SpmProcess::Encode(std::string_view text) {
  if (text.size() > kMaxTextBytes) {
    return InvalidArgument("expected a text of at most ", kMaxTextBytes, " bytes, got ",
                           text.size());
  }
  // The program answers only once it has the whole text, so neither side waits for the other.
  const uint32_t bytes = static_cast<uint32_t>(text.size());
  RETURN_IF_ERROR(Send(&bytes, sizeof(bytes)));
  RETURN_IF_ERROR(Send(text.data(), text.size()));
  uint32_t count = 0;
  RETURN_IF_ERROR(Receive(&count, sizeof(count)));
  // Byte fallback gives at most one id a byte; a space is the three bytes of U+2581 inside.
  if (count > 4 * text.size() + 16) {
    return Internal(program_, ": got ", count, " ids for ", text.size(), " bytes");
  }
  std::vector<int32_t> ids(count);
  RETURN_IF_ERROR(Receive(ids.data(), count * sizeof(int32_t)));
  return ids;
}

}  // namespace blockstep
