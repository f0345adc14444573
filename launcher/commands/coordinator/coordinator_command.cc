#include "launcher/commands/coordinator/coordinator_command.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <thread>

#include "core/base/status.h"
#include "core/io/file_ops.h"
#include "launcher/cli/exit_codes.h"
#include "launcher/cli/flags.h"
#include "launcher/cli/stop_signal.h"
#include "launcher/commands/command.h"
#include "launcher/config/train_config.h"
#include "launcher/coordinator/channel.h"
#include "launcher/coordinator/contact.h"
#include "launcher/coordinator/http_endpoint.h"
#include "launcher/run/coordinator_options.h"

namespace blockstep {
namespace {

namespace fs = std::filesystem;

// The address that ranks dial: a wildcard stands for this host.
std::string Dialled(const CoordinatorServer& server) {
  const std::string address = server.address();
  const bool wildcard = address.rfind("0.0.0.0:", 0) == 0 || address.rfind("[::]:", 0) == 0;
  return wildcard ? Cat(HostName(), ":", server.port()) : address;
}

// Found out before anything is written. Only a look: the server itself listens a moment later.
absl::Status CheckPort(const std::string& flag, const std::string& address) {
  if (address.substr(0, address.rfind(':')) == "unix") return absl::OkStatus();
  const absl::StatusOr<Addresses> resolved = Resolve(address, AI_PASSIVE);
  if (!resolved.ok()) {
    return InvalidArgument(flag, ": expected host:port of this host, got ", address, ": ",
                           resolved.status().message());
  }
  const addrinfo* found = resolved->get();
  const int probe = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  (void)setsockopt(probe, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const int error = bind(probe, found->ai_addr, found->ai_addrlen) == 0 ? 0 : errno;
  close(probe);
  if (error == 0) return absl::OkStatus();
  return ResourceExhausted(flag, " ", address, ": cannot listen: ", std::strerror(error),
                           "; expected a free port of this host, or port 0");
}

bool Done(const proto::StatusReply& status) {
  if (status.next_step() < status.total_steps() || status.ranks_size() < status.world() ||
      status.world() == 0) {
    return false;
  }
  for (const proto::RankStatus& rank : status.ranks()) {
    if (rank.left().empty()) return false;
  }
  return true;
}

void AddFlags(CLI::App& app, CoordinatorFlags& flags, std::string& http) {
  app.add_option("--config", flags.config_file,
                 "configuration file, the same one that the ranks use");
  AddSets(app, flags.sets);
  app.add_option("--folder", flags.folder,
                 "folder for the log, which a restart continues, and coordinator.json, the address")
      ->required();
  app.add_option("--bind", flags.bind,
                 "host:port to listen on; port 0 picks a free one and keeps it across restarts")
      ->capture_default_str();
  app.add_option("--tls", flags.tls,
                 "folder with ca.pem, server.pem and server-key.pem (see blockstep certs); ranks "
                 "need certificates of the same authority")
      ->envname("BLOCKSTEP_TLS");
  app.add_flag("--insecure", flags.insecure,
               "allow plaintext on an address that other hosts can reach");
  app.add_option("--http", http,
                 "host:port for /healthz, /status and /metrics; off loopback it needs a token in "
                 "BLOCKSTEP_HTTP_TOKEN");
}

}  // namespace

absl::StatusOr<CoordinatorServerOptions> MakeServerOptions(const CoordinatorFlags& flags) {
  ASSIGN_OR_RETURN(const TrainConfig config, LoadTrainConfig(flags.config_file, flags.sets));
  ASSIGN_OR_RETURN(const LlamaConfig model, ModelOf(config));
  ASSIGN_OR_RETURN(CoordinatorServerOptions options, ServerOptionsOf(config, model));
  options.address = flags.bind;
  options.insecure = flags.insecure;
  if (!flags.tls.empty()) {
    const TlsFolder files = ServerFiles(flags.tls);
    ASSIGN_OR_RETURN(options.tls, ReadTlsFiles(files.ca, files.cert, files.key));
  }
  RETURN_IF_ERROR(CheckBind(flags.bind, !flags.tls.empty(), flags.insecure));
  RETURN_IF_ERROR(CheckPort("--bind", flags.bind));
  if (!options.http_address.empty()) {
    RETURN_IF_ERROR(CheckHttpAddress(options.http_address, options.http_token));
    RETURN_IF_ERROR(CheckPort("--http", options.http_address));
  }
  std::error_code error;
  fs::create_directories(flags.folder, error);
  if (error) return FileError("create the coordinator's folder", flags.folder, error.value());
  options.run.decisions.log_path = flags.folder + "/coordinator.log";
  const size_t colon = flags.bind.rfind(':');
  if (flags.bind.substr(colon) == ":0" && fs::exists(options.run.decisions.log_path)) {
    if (const auto last = ReadContact(flags.folder); last.ok()) {
      options.address.replace(colon, std::string::npos,
                              last->address.substr(last->address.rfind(':')));
    }
  }
  return options;
}

absl::Status Serve(const CoordinatorFlags& flags, CoordinatorServerOptions options) {
  ASSIGN_OR_RETURN(const auto server, CoordinatorServer::Start(std::move(options)));
  Contact contact{.address = Dialled(*server), .host = HostName()};
  if (!flags.tls.empty()) {
    // People who ask from this host use the client's half of the same folder.
    const TlsFolder files = ClientFiles(fs::absolute(flags.tls).string());
    contact.ca = files.ca, contact.cert = files.cert, contact.key = files.key;
  }
  RETURN_IF_ERROR(WriteContact(flags.folder, contact));
  const proto::StatusReply began = server->state().Status();
  std::fprintf(stderr, "blockstep coordinator: term %ld at %s%s, from step %ld, folder %s\n",
               static_cast<long>(began.term()), contact.address.c_str(),
               server->http_port() > 0 ? Cat(", http port ", server->http_port()).c_str() : "",
               static_cast<long>(began.next_step()), flags.folder.c_str());
  bool done = false;
  // A signal handler can only set a flag.
  while (!StopSignalSeen() && !done) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    done = Done(server->state().Status());
  }
  if (!done && !Done(server->state().Status())) {
    return WithExitCode(
        Unavailable("stopped before the end of the run; start it again with --folder ",
                    flags.folder, " to continue"),
        kExitStopped);
  }
  std::fprintf(stderr, "blockstep coordinator: run finished\n");
  return absl::OkStatus();
}

int CoordinatorCommand(int argc, char** argv) {
  CoordinatorFlags flags;
  std::string http;
  CLI::App app{
      "Run the coordinator, which decides what a run trains next, as a separate process: start it, "
      "then `blockstep train --coordinator HOST:PORT` with the same configuration. It exits when "
      "the run has finished, and may be restarted while it continues (coordinator.grace_s)."};
  app.name("blockstep coordinator");
  AddFlags(app, flags, http);
  if (const auto code = ParseFlags(app, argc, argv)) return *code;
  if (!http.empty()) flags.sets.push_back("coordinator.http_address=" + http);
  InstallStopSignals();
  absl::StatusOr<CoordinatorServerOptions> options = MakeServerOptions(flags);
  absl::Status status = options.status();
  if (status.ok()) status = Serve(flags, *std::move(options));
  if (status.ok()) return kExitOk;
  std::fprintf(stderr, "blockstep coordinator: %s\n", std::string(Std(status.message())).c_str());
  return ExitCodeOf(status);
}

}  // namespace blockstep
