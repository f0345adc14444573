// `blockstep status`, `blockstep stop` and `blockstep save`.
#include <cstdio>
#include <cstdlib>

#include "core/base/status.h"
#include "launcher/cli/exit_codes.h"
#include "launcher/cli/flags.h"
#include "launcher/commands/command.h"
#include "launcher/config/host_port.h"
#include "launcher/config/step_proto.h"
#include "launcher/coordinator/contact.h"
#include "launcher/coordinator/operator_calls.h"
#include "launcher/coordinator/status_text.h"
#include "launcher/run/coordinator_options.h"

namespace blockstep {
namespace {

// Which coordinator: a folder that holds its contact, or its address.
struct Target {
  std::string folder, address, tls;
};

void AddTarget(CLI::App& app, Target& target) {
  app.add_option("folder", target.folder, "folder of the run or of its coordinator");
  app.add_option("--coordinator", target.address, "host:port, instead of a folder");
  app.add_option("--tls", target.tls,
                 "folder with ca.pem, client.pem and client-key.pem, for --coordinator")
      ->envname("BLOCKSTEP_TLS");
}

absl::StatusOr<ChannelOptions> ChannelTo(const Target& target) {
  if (target.folder.empty() == target.address.empty()) {
    return InvalidArgument("expected a folder or --coordinator HOST:PORT, got ",
                           target.folder.empty() ? "neither" : "both");
  }
  if (!target.folder.empty()) {
    ASSIGN_OR_RETURN(const Contact contact, ReadContact(target.folder));
    return ChannelOf(contact);
  }
  if (!IsHostPort(target.address)) {
    return InvalidArgument("--coordinator: expected ", kHostPort, ", got ", target.address);
  }
  Contact contact{.address = target.address};
  if (!target.tls.empty()) {
    const TlsFolder files = ClientFiles(target.tls);
    contact.ca = files.ca, contact.cert = files.cert, contact.key = files.key;
  }
  return ChannelOf(contact);
}

std::string Text(const proto::StatusReply& s) {
  std::string text = Cat("run     ", s.run_id().empty() ? "none yet" : s.run_id(), ", policy ",
                         s.policy(), ", config_hash ", s.config_hash(), "\nterm    ", s.term(),
                         ", view ", s.view(), "\nstep    ", s.next_step(), " of ", s.total_steps(),
                         ", active set ", s.label().empty() ? "-" : s.label(), ", ", s.switches(),
                         s.switches() == 1 ? " switch" : " switches", "\nloss    ");
  // Counted since this coordinator's start: the first report after one brings them back.
  if (s.tokens() > 0) {
    text += Cat(s.loss(), ", ", static_cast<int64_t>(s.tokens_per_second()), " tokens/s");
  } else {
    text += "no report yet";
  }
  text += Cat(", ", s.bad_steps(), " bad steps\n");
  if (s.orders().stop()) text += "orders  stop\n";
  for (const proto::RankStatus& rank : s.ranks()) {
    text += Cat("rank ", rank.rank(), "  ", rank.host(), "  step ", rank.progress().step());
    const RunStage stage = FromProto(rank.progress().stage());
    if (stage != RunStage::kStep) text += Cat(", ", RunStageName(stage));
    if (!rank.progress().op().empty()) text += Cat("  ", rank.progress().op());
    text += Cat("  last heard ", static_cast<double>(rank.silent_ms() / 100) / 10, " s ago",
                rank.connected() ? "" : ", not connected",
                rank.left().empty() ? "" : ", left: " + rank.left(), "\n");
  }
  if (s.ranks_size() < s.world()) text += Cat(s.world() - s.ranks_size(), " ranks not connected\n");
  return text;
}

std::string Json(const proto::StatusReply& status) {
  const absl::StatusOr<std::string> json = StatusJson(status);
  return json.ok() ? *json : Cat("{\"error\": \"", json.status().message(), "\"}\n");
}

int Ended(const std::string& command, const Target& target, const absl::Status& status) {
  if (status.ok()) return kExitOk;
  std::string text = Cat("blockstep ", command, ": ", status.message());
  if ((absl::IsUnavailable(status) || absl::IsUnauthenticated(status)) && !target.folder.empty()) {
    // A run that was killed leaves its contact behind.
    text += Cat(" (", target.folder, "/coordinator.json");
    if (const auto contact = ReadContact(target.folder);
        contact.ok() && IsLoopback(contact->address) && !contact->host.empty() &&
        contact->host != HostName()) {
      text += Cat(" has a loopback address of ", contact->host, ": run this on that host");
    }
    text += ")";
  }
  std::fprintf(stderr, "%s\n", text.c_str());
  return ExitCodeOf(status);
}

struct OrderKind {
  std::string name, help;
  absl::Status (*call)(const ChannelOptions& channel, const std::string& run_id);
};

// One line says what is wrong; gRPC's own lines are no help to people. Before its first use.
void QuietGrpc() { setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0); }

int Order(const OrderKind& kind, int argc, char** argv) {
  QuietGrpc();
  Target target;
  std::string run_id;
  CLI::App app{kind.help};
  app.name("blockstep " + kind.name);
  AddTarget(app, target);
  app.add_option("--run-id", run_id, "only if the coordinator runs this run_id");
  if (const auto code = ParseFlags(app, argc, argv)) return *code;
  const auto order = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const ChannelOptions channel, ChannelTo(target));
    RETURN_IF_ERROR(kind.call(channel, run_id));
    ASSIGN_OR_RETURN(const proto::StatusReply status, AskStatus(channel));
    std::printf("asked run %s to %s; it is at step %ld of %ld\n", status.run_id().c_str(),
                kind.name.c_str(), static_cast<long>(status.next_step()),
                static_cast<long>(status.total_steps()));
    return absl::OkStatus();
  };
  return Ended(kind.name, target, order());
}

}  // namespace

int StatusCommand(int argc, char** argv) {
  QuietGrpc();
  Target target;
  bool json = false;
  CLI::App app{"Show what a run is doing, according to its coordinator."};
  app.name("blockstep status");
  AddTarget(app, target);
  app.add_flag("--json", json, "print everything as JSON");
  if (const auto code = ParseFlags(app, argc, argv)) return *code;
  const auto show = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const ChannelOptions channel, ChannelTo(target));
    ASSIGN_OR_RETURN(const proto::StatusReply status, AskStatus(channel));
    std::fputs((json ? Json(status) : Text(status)).c_str(), stdout);
    return absl::OkStatus();
  };
  return Ended("status", target, show());
}

int StopCommand(int argc, char** argv) {
  return Order(
      {.name = "stop",
       .help = "Ask a run to stop: its ranks save at the end of the current step and exit with "
               "code 75. Continue with `blockstep train --resume auto`.",
       .call = OrderStop},
      argc, argv);
}

int SaveCommand(int argc, char** argv) {
  return Order({.name = "save",
                .help = "Ask a run for a checkpoint: its ranks save at the end of a step, within "
                        "about two seconds, and continue training.",
                .call = OrderSave},
               argc, argv);
}

}  // namespace blockstep
