#include "launcher/run/grpc_coordination.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/backends/backends.h"
#include "core/base/status.h"
#include "dist/agreement.h"
#include "launcher/cli/build_identity.h"
#include "launcher/cli/stop_signal.h"
#include "launcher/cli/text_writer.h"
#include "launcher/config/step_proto.h"
#include "launcher/coordinator/operator_calls.h"
#include "launcher/run/coordinator_options.h"

namespace blockstep {
namespace {

// Greater than that of any start before. The clock alone would do, if nobody ever set it back or
// went on with the run on a host where it is late; so what the coordinator knows counts too.
int64_t NextIncarnation(const Contact& contact) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const int64_t ms = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
  const absl::StatusOr<ChannelOptions> channel = ChannelOf(contact);
  if (!channel.ok()) return ms;  // the join will say so
  const absl::StatusOr<proto::StatusReply> known = AskStatus(*channel);
  return known.ok() ? std::max(ms, known->incarnation() + 1) : ms;
}

}  // namespace

GrpcCoordination::~GrpcCoordination() {
  client_.reset();
  if (!contact_folder_.empty()) RemoveContact(contact_folder_);
}

// The coordinator as this process's guest, reachable by as few as its ranks allow; TLS always.
absl::StatusOr<Contact> GrpcCoordination::Embed(const CoordinationStart& start, int ranks) {
  ASSIGN_OR_RETURN(const CertificateSet certs, MakeCertificates({.server_names = {HostName()}}));
  ASSIGN_OR_RETURN(CoordinatorServerOptions options, ServerOptionsOf(*start.config, *start.model));
  const bool one_machine = start.machine_ranks == ranks;
  options.address = one_machine ? "127.0.0.1:0" : "0.0.0.0:0";
  options.tls = certs.server;
  options.run.decisions.run_id = start.run->run_id;
  options.run.world = ranks;
  ASSIGN_OR_RETURN(server_, CoordinatorServer::Start(std::move(options)));
  return Contact{
      .address = one_machine ? server_->address() : Cat(HostName(), ":", server_->port()),
      .host = HostName(),
      .tls_name = kCoordinatorName,
      .ca = certs.client.ca,
      .cert = certs.client.cert,
      .key = certs.client.key};
}

// Where rank 0 found or made the coordinator, on every rank.
absl::StatusOr<Contact> GrpcCoordination::Meet(const CoordinationStart& start,
                                               Communicator& group) {
  const TrainConfig::Coordinator& named = start.config->coordinator;
  // The contact is read from other working folders, too.
  const auto absolute = [](const std::string& path) {
    return path.empty() ? path : std::filesystem::absolute(path).string();
  };
  absl::StatusOr<Contact> contact = Contact{.address = named.address,
                                            .host = IsLoopback(named.address) ? HostName() : "",
                                            .ca = absolute(named.tls_ca),
                                            .cert = absolute(named.tls_cert),
                                            .key = absolute(named.tls_key)};
  if (group.rank() == 0) {
    if (named.address.empty()) contact = Embed(start, group.size());
    if (contact.ok()) {
      const absl::Status written = WriteContact(start.run->path, *contact);
      if (written.ok()) contact_folder_ = start.run->path;
      if (!written.ok()) contact = written;
    }
  }
  RETURN_IF_ERROR(AgreeOnStatus(&group, contact.status(), "coordinator"));
  ASSIGN_OR_RETURN(const std::string text,
                   BroadcastText(&group, ContactText(*contact), 0, "coordinator contact"));
  return ParseContact(text, "coordinator contact");
}

absl::StatusOr<DirectiveSource*> GrpcCoordination::Connect(const CoordinationStart& start,
                                                           Communicator& group) {
  const TrainConfig& config = *start.config;
  ASSIGN_OR_RETURN(const Contact contact, Meet(start, group));
  const int64_t next = group.rank() == 0 ? NextIncarnation(contact) : 0;
  ASSIGN_OR_RETURN(const std::string began,
                   BroadcastText(&group, Cat(next), 0, "incarnation of the workers"));
  const bool resumes = start.resumed != nullptr;
  PolicySnapshot snapshot;
  if (resumes) snapshot = {start.resumed->policy_state, start.resumed->directives};
  const int64_t first_step = resumes ? start.resumed->step : 0;
  const PolicySnapshot* resume = resumes ? &snapshot : nullptr;
  const auto join = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(ChannelOptions channel, ChannelOf(contact));
    channel.keepalive_s = config.coordinator.keepalive_s;
    ASSIGN_OR_RETURN(client_, CoordinatorClient::Connect(
                                  {.channel = std::move(channel),
                                   .run_id = start.run->run_id,
                                   .rank = group.rank(),
                                   .world = group.size(),
                                   .incarnation = std::stoll(began),
                                   .build = BuildIdentity(),
                                   .instruction_set = CpuInstructionSet(),
                                   .libraries = {CpuGemmLibrary()},
                                   .config_hash = ConfigHash(config, *start.model),
                                   .slot_exact = config.train.numerics == Numerics::kSlotExact,
                                   .resume_step = first_step,
                                   .resume = resume,
                                   .host = HostName(),
                                   .grace_s = config.coordinator.grace_s,
                                   // Several within a lease, so that one late beat is no death.
                                   .heartbeat_s = std::min(1.0, config.coordinator.lease_s / 8),
                                   .stop_seen = StopSignalSeen,
                                   .note = group.rank() == 0 ? Say : nullptr}));
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(AgreeOnStatus(&group, join(), "coordinator join"));
  if (group.rank() != 0) return client_.get();
  ASSIGN_OR_RETURN(PolicyFactory make_policy, PolicyFactoryOf(config, *start.table));
  ASSIGN_OR_RETURN(leader_,
                   LeaderSource::Create(client_.get(), std::move(make_policy), first_step, resume));
  return leader_.get();
}

absl::Status GrpcCoordination::PolicyState(int64_t step, TrainerState& state) {
  ASSIGN_OR_RETURN(PolicySnapshot snapshot, leader_->Snapshot(step));
  state.policy_state = std::move(snapshot.policy_state);
  state.directives = std::move(snapshot.directives);
  return absl::OkStatus();
}

bool GrpcCoordination::StopRequested() { return StopSignalSeen() || client_->stop_requested(); }

int64_t GrpcCoordination::SavesOrdered() { return client_->save_generation(); }

void GrpcCoordination::Tell(int64_t step, RunStage stage, const CommProgress& comm) {
  client_->SetProgress({.step = step,
                        .stage = stage,
                        .op = comm.sequence > 0 ? Cat(comm.op, " \"", comm.what, "\"") : "",
                        .sequence = comm.sequence});
}

absl::StatusOr<std::vector<PeerState>> GrpcCoordination::Peers(double deadline_s) {
  ASSIGN_OR_RETURN(const proto::StatusReply reply, client_->Status(deadline_s));
  std::vector<PeerState> peers;
  for (const proto::RankStatus& r : reply.ranks()) {
    peers.push_back({.rank = r.rank(),
                     .host = r.host(),
                     .step = r.progress().step(),
                     .stage = FromProto(r.progress().stage()),
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
