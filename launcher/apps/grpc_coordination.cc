#include "launcher/apps/grpc_coordination.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "core/base/status.h"
#include "core/ops/cpu/loops/loops.h"

namespace blockstep {

struct GrpcCoordination::Contact {
  std::string address;
  TlsIdentity tls;
  std::string tls_name;
  int64_t incarnation = 0;
  std::string error;  // rank 0 could not start it: everyone fails alike
};

namespace {

std::string HostName() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// Rank 0's text on every rank.
absl::StatusOr<std::string> BroadcastText(const std::string& mine, Communicator& group) {
  std::vector<int64_t> sizes(group.size());
  const int64_t size = static_cast<int64_t>(mine.size());
  RETURN_IF_ERROR(
      group.HostAllGather(&size, sizeof size, sizes.data(), "coordinator contact, size"));
  std::string text = group.rank() == 0 ? mine : std::string(sizes[0], '\0');
  group.Broadcast(text.data(), sizes[0], 0, "coordinator contact");
  RETURN_IF_ERROR(group.stream().Synchronize());
  return text;
}

}  // namespace

GrpcCoordination::~GrpcCoordination() { client_.reset(); }

std::string InstructionSet() { return cpu::Loops().name; }

std::string BuildIdentity() { return Cat("blockstep ", BLOCKSTEP_VERSION, " wire 1"); }

// The coordinator as this process's guest: it may be reached from other hosts, so TLS always.
absl::StatusOr<GrpcCoordination::Contact> GrpcCoordination::Embed(const CoordinationStart& start,
                                                                  int ranks) {
  const TrainConfig& config = *start.config;
  ASSIGN_OR_RETURN(const CertificateSet certs, MakeCertificates({.server_names = {HostName()}}));
  ASSIGN_OR_RETURN(const PolicyConfig policy, ResolvePolicy(config, *start.table));
  const TensorTable table = *start.table;
  ASSIGN_OR_RETURN(
      server_, CoordinatorServer::Start(
                   {.address = ranks == 1 ? "127.0.0.1:0" : "0.0.0.0:0",
                    .tls = certs.server,
                    .keepalive_s = config.coordinator.keepalive_s,
                    .http_address = config.coordinator.http_address,
                    .run = {.decisions = {.make_policy =
                                              [policy, table] { return MakePolicy(policy, table); },
                                          .build = BuildIdentity(),
                                          .config_hash = ConfigHash(config),
                                          .run_id = start.run->run_id},
                            .world = ranks,
                            .total_steps = config.train.steps,
                            .lease_ms = static_cast<int64_t>(config.coordinator.lease_s * 1000)}}));
  const std::string host = ranks == 1 ? "127.0.0.1" : HostName();
  return Contact{.address = Cat(host, ":", server_->port()),
                 .tls = certs.client,
                 .tls_name = kCoordinatorName};
}

absl::StatusOr<DirectiveSource*> GrpcCoordination::Connect(const CoordinationStart& start,
                                                           Communicator& group) {
  const TrainConfig& config = *start.config;
  const bool embedded = config.coordinator.address.empty();
  Contact contact{.address = config.coordinator.address};
  if (group.rank() == 0 && embedded) {
    absl::StatusOr<Contact> started = Embed(start, group.size());
    if (started.ok()) {
      contact = *std::move(started);
    } else {
      contact.error = started.status().ToString();
    }
  }
  contact.incarnation = NowMs();
  const nlohmann::json said = {{"address", contact.address},   {"ca", contact.tls.ca},
                               {"cert", contact.tls.cert},     {"key", contact.tls.key},
                               {"tls_name", contact.tls_name}, {"incarnation", contact.incarnation},
                               {"error", contact.error}};
  ASSIGN_OR_RETURN(const std::string text, BroadcastText(said.dump(), group));
  const nlohmann::json heard = nlohmann::json::parse(text);
  if (!heard["error"].get<std::string>().empty()) {
    return Unavailable("coordinator in rank 0: ", heard["error"].get<std::string>());
  }
  TlsIdentity tls{heard["ca"], heard["cert"], heard["key"]};
  if (!embedded && !config.coordinator.tls_ca.empty()) {
    ASSIGN_OR_RETURN(tls, ReadTlsFiles(config.coordinator.tls_ca, config.coordinator.tls_cert,
                                       config.coordinator.tls_key));
  }
  PolicySnapshot snapshot;
  if (start.resumed != nullptr) {
    snapshot = {start.resumed->policy_state, start.resumed->directives};
  }
  ASSIGN_OR_RETURN(client_, CoordinatorClient::Connect(
                                {.channel = {.address = heard["address"],
                                             .tls = tls,
                                             .tls_name = heard["tls_name"],
                                             .keepalive_s = config.coordinator.keepalive_s},
                                 .run_id = start.run->run_id,
                                 .rank = group.rank(),
                                 .world = group.size(),
                                 .incarnation = heard["incarnation"],
                                 .build = BuildIdentity(),
                                 .instruction_set = InstructionSet(),
                                 .config_hash = ConfigHash(config),
                                 .slot_exact = config.train.numerics == Numerics::kSlotExact,
                                 .resume_step = start.resumed != nullptr ? start.resumed->step : 0,
                                 .resume = start.resumed != nullptr ? &snapshot : nullptr,
                                 .host = HostName(),
                                 .grace_s = config.coordinator.grace_s,
                                 // Several within a lease, so that one late beat is no death.
                                 .heartbeat_s = std::min(1.0, config.coordinator.lease_s / 8)}));
  return client_.get();
}

absl::Status GrpcCoordination::PolicyState(int64_t step, TrainerState& state) {
  ASSIGN_OR_RETURN(PolicySnapshot snapshot, client_->Snapshot(step));
  state.policy_state = std::move(snapshot.policy_state);
  state.directives = std::move(snapshot.directives);
  return absl::OkStatus();
}

bool GrpcCoordination::StopOrdered() { return client_->stop_requested(); }

void GrpcCoordination::Tell(int64_t step, RunPhase phase, const CommProgress& comm) {
  static constexpr proto::Phase kPhases[] = {proto::STARTING, proto::STEP, proto::EVALUATE,
                                             proto::SAVE, proto::DONE};
  client_->SetProgress({.step = step,
                        .phase = kPhases[static_cast<size_t>(phase)],
                        .op = comm.sequence > 0 ? Cat(comm.op, " \"", comm.what, "\"") : "",
                        .sequence = comm.sequence});
}

absl::StatusOr<std::vector<PeerState>> GrpcCoordination::Peers(double deadline_s) {
  static constexpr std::string_view kPhases[] = {"unknown", "starting",   "step",
                                                 "save",    "evaluation", "end"};
  ASSIGN_OR_RETURN(const proto::StatusReply reply, client_->Status(deadline_s));
  std::vector<PeerState> peers;
  for (const proto::RankStatus& r : reply.ranks()) {
    const size_t phase = static_cast<size_t>(r.progress().phase());
    peers.push_back({.rank = r.rank(),
                     .host = r.host(),
                     .step = r.progress().step(),
                     .phase = std::string(kPhases[phase < std::size(kPhases) ? phase : 0]),
                     .op = r.progress().op(),
                     .sequence = r.progress().sequence(),
                     .silent_s = static_cast<double>(r.silent_ms()) / 1000,
                     .connected = r.connected(),
                     .left = r.left()});
  }
  return peers;
}

void GrpcCoordination::Leave(const std::string& why) {
  if (client_ != nullptr) client_->Leave(why).IgnoreError();
}

}  // namespace blockstep
