#include "launcher/coordinator/run_state.h"

#include <algorithm>
#include <iterator>

#include "core/base/check.h"
#include "core/base/status.h"
#include "launcher/config/step_proto.h"

namespace blockstep {
namespace {

constexpr size_t kRecentReports = 32;
constexpr size_t kMaxName = 256;  // of hosts, runs and operations: they are kept and shown

std::string Shortened(const std::string& text) { return text.substr(0, kMaxName); }

template <typename A, typename B>
absl::Status Refuse(const proto::JoinRequest& who, std::string_view what, const A& found,
                    const B& wanted) {
  return FailedPrecondition("rank ", who.identity().rank(), " on ", who.host(), ": ", what,
                            ": expected ", wanted, ", got ", found);
}

std::string Libraries(const proto::Machine& machine) {
  std::string text = machine.instruction_set();
  for (const std::string& library : machine.libraries()) text += ", " + library;
  return text;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RunState>> RunState::Create(RunStateOptions options) {
  CHECK(options.now_ms != nullptr);
  std::unique_ptr<RunState> made(new RunState(std::move(options)));
  ASSIGN_OR_RETURN(made->decisions_, Decisions::Create(made->options_.decisions));
  made->world_ = made->options_.world;
  return made;
}

absl::Status RunState::CheckRun(const std::string& run_id) const {
  if (run_id == decisions_->run_id()) return absl::OkStatus();
  return FailedPrecondition("run_id: expected ", decisions_->run_id(), ", got ", run_id);
}

absl::Status RunState::CheckIdentity(const proto::Identity& id) const {
  const DecisionsOptions& o = options_.decisions;
  if (id.build() != o.build) {
    return FailedPrecondition("rank ", id.rank(), ": build: expected ", o.build, ", got ",
                              id.build());
  }
  if (!decisions_->run_id().empty()) RETURN_IF_ERROR(CheckRun(id.run_id()));
  if (id.config_hash() != o.config_hash) {
    return FailedPrecondition("rank ", id.rank(), ": config_hash: expected ", o.config_hash,
                              ", got ", id.config_hash(),
                              ": ranks and coordinator must read the same configuration");
  }
  return absl::OkStatus();
}

absl::Status RunState::CheckMachine(const proto::JoinRequest& request) const {
  const auto leader = members_.find(0);
  if (request.slot_exact() && leader != members_.end() && request.identity().rank() != 0) {
    const std::string found = Libraries(request.machine());
    const std::string wanted = Libraries(leader->second.joined.machine());
    if (found != wanted) {
      return Refuse(request, "instruction set and libraries (numerics slot_exact)", found,
                    wanted + " (as on rank 0)");
    }
  }
  return absl::OkStatus();
}

absl::Status RunState::CheckJoin(const proto::JoinRequest& request) const {
  const proto::Identity& id = request.identity();
  if (id.run_id().empty() || id.run_id().size() > kMaxName || request.host().size() > kMaxName) {
    return InvalidArgument("join: expected a run_id and names of at most ", kMaxName,
                           " bytes, got ", id.run_id().size(), " and ", request.host().size(),
                           " bytes");
  }
  RETURN_IF_ERROR(Annotate(CheckIdentity(id), request.host()));
  RETURN_IF_ERROR(CheckMachine(request));
  // A new start of the workers may be on another number of ranks: their rank 0 says so.
  const bool new_start = id.rank() == 0 && id.incarnation() > decisions_->incarnation();
  const int known_world = new_start ? options_.world : world_;
  const int world = known_world > 0 ? known_world : request.world();
  if (request.world() != world || world < 1) {
    return Refuse(request, "world", request.world(), world);
  }
  if (id.rank() < 0 || id.rank() >= world) {
    return Refuse(request, "rank", id.rank(), Cat("0 to ", world - 1));
  }
  if (id.incarnation() < decisions_->incarnation() || id.incarnation() < 1) {
    return Refuse(
        request, "incarnation", id.incarnation(),
        Cat(decisions_->incarnation(), " (these workers were replaced by a later start)"));
  }
  if (id.term() > decisions_->term()) {
    return Refuse(request, "term", id.term(),
                  Cat("at most ", decisions_->term(),
                      " (this coordinator's log belongs to another start of the run)"));
  }
  const auto known = members_.find(id.rank());
  if (known != members_.end() && known->second.joined.nonce() != request.nonce() &&
      known->second.streams > 0 && options_.now_ms() - known->second.heard_ms < options_.lease_ms) {
    return absl::AlreadyExistsError(Cat("rank ", id.rank(), " on ", request.host(),
                                        ": another process of this rank is alive on ",
                                        known->second.joined.host()));
  }
  return absl::OkStatus();
}

absl::Status RunState::AdmitLeader(const proto::JoinRequest& request) {
  const proto::Identity& id = request.identity();
  if (id.incarnation() == decisions_->incarnation()) return absl::OkStatus();
  if (request.resume_step() < 0) return Refuse(request, "resume_step", request.resume_step(), 0);
  const bool first = decisions_->incarnation() == 0 && decisions_->next_step() == 0;
  if (first && request.resume_step() == 0 && request.policy_state().empty()) {
    return decisions_->Begin(id.run_id(), id.incarnation());
  }
  PolicySnapshot snapshot{.policy_state = request.policy_state()};
  for (const proto::Directive& wire : request.directives()) {
    ASSIGN_OR_RETURN(Directive directive, FromProto(wire));
    snapshot.directives.push_back(std::move(directive));
  }
  // Its name only: these workers are there once Restore is durable, else they come again.
  if (decisions_->run_id().empty()) {
    RETURN_IF_ERROR(decisions_->Begin(id.run_id(), decisions_->incarnation()));
  }
  RETURN_IF_ERROR(decisions_->Restore(id.incarnation(), request.resume_step(), snapshot));
  members_.clear();
  recent_.clear();
  return absl::OkStatus();
}

absl::StatusOr<proto::JoinReply> RunState::Join(const proto::JoinRequest& request) {
  proto::JoinReply reply;
  {
    std::lock_guard lock(mutex_);
    RETURN_IF_ERROR(CheckJoin(request));
    const proto::Identity& id = request.identity();
    const bool again = id.term() > 0;  // it was a member before this coordinator's start
    if (again && id.incarnation() != decisions_->incarnation()) {
      return Refuse(
          request, "incarnation", id.incarnation(),
          Cat(decisions_->incarnation(), " (these workers never joined this coordinator)"));
    }
    if (again && id.view() != decisions_->view()) {
      return Refuse(request, "view", id.view(), decisions_->view());
    }
    if (id.rank() == 0) {
      RETURN_IF_ERROR(AdmitLeader(request));
    } else if (id.incarnation() != decisions_->incarnation()) {
      return Unavailable("rank ", id.rank(), " on ", request.host(), ": incarnation ",
                         id.incarnation(), " is waiting for rank 0, which still has incarnation ",
                         decisions_->incarnation());
    }
    world_ = request.world();
    Member& member = members_[id.rank()];
    const int streams = member.streams;
    member = {.joined = request, .heard_ms = options_.now_ms(), .streams = streams};
    reply.set_term(decisions_->term());
    reply.set_view(decisions_->view());
    reply.set_reports_until(decisions_->next_step());
  }
  Changed();
  return reply;
}

absl::StatusOr<RunState::Member*> RunState::Find(const proto::Identity& id) {
  RETURN_IF_ERROR(CheckIdentity(id));
  if (id.incarnation() < decisions_->incarnation()) {
    return FailedPrecondition("rank ", id.rank(), ": incarnation: expected ",
                              decisions_->incarnation(), ", got ", id.incarnation(),
                              ": replaced by a later start");
  }
  if (id.term() != decisions_->term() || id.view() != decisions_->view()) {
    return Aborted("rank ", id.rank(), ": expected term ", decisions_->term(), " view ",
                   decisions_->view(), ", got term ", id.term(), " view ", id.view());
  }
  const auto member = members_.find(id.rank());
  if (member == members_.end()) return Aborted("rank ", id.rank(), ": has not joined");
  return &member->second;
}

absl::StatusOr<RunState::Member*> RunState::Caller(const proto::Identity& id) {
  ASSIGN_OR_RETURN(Member * member, Find(id));
  member->heard_ms = options_.now_ms();
  return member;
}

absl::StatusOr<proto::ReportReply> RunState::Report(const proto::ReportRequest& request) {
  proto::ReportReply reply;
  {
    std::lock_guard lock(mutex_);
    RETURN_IF_ERROR(Caller(request.identity()).status());
    if (request.identity().rank() != 0) {
      return FailedPrecondition("report: expected the leader, rank 0, got rank ",
                                request.identity().rank());
    }
    ASSIGN_OR_RETURN(const StepReport report, FromProto(request.report()));
    const bool fresh = report.step == decisions_->next_step();
    RETURN_IF_ERROR(decisions_->Accept(report));
    if (fresh) {
      tokens_ += report.tokens;
      if (report.nonfinite > 0) {
        ++bad_steps_;
      } else if (report.tokens > 0) {
        loss_ = report.loss_sum / static_cast<double>(report.tokens);
      }
      recent_.push_back({options_.now_ms(), report.tokens});
      if (recent_.size() > kRecentReports) recent_.pop_front();
    }
    reply.set_term(decisions_->term());
    reply.set_next_step(decisions_->next_step());
  }
  Changed();
  return reply;
}

absl::StatusOr<proto::HeartbeatReply> RunState::Heartbeat(const proto::HeartbeatRequest& request) {
  std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(Member * member, Caller(request.identity()));
  member->progress = request.progress();
  member->progress.set_op(Shortened(request.progress().op()));
  // A coordinator that cannot decide is no live one: the ranks' grace runs, and they say why.
  RETURN_IF_ERROR(decisions_->Durable());
  proto::HeartbeatReply reply;
  reply.set_term(decisions_->term());
  reply.set_view(decisions_->view());
  *reply.mutable_orders() = decisions_->orders();
  return reply;
}

absl::Status RunState::Leave(const proto::LeaveRequest& request) {
  std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(Member * member, Caller(request.identity()));
  member->left = request.reason().empty() ? "done" : Shortened(request.reason());
  return absl::OkStatus();
}

absl::StatusOr<proto::OrdersReply> RunState::Order(
    const std::string& run_id, const std::function<void(proto::Orders*)>& change) {
  std::lock_guard lock(mutex_);
  if (!run_id.empty()) RETURN_IF_ERROR(CheckRun(run_id));
  proto::Orders orders = decisions_->orders();
  change(&orders);
  RETURN_IF_ERROR(decisions_->SetOrders(orders));
  proto::OrdersReply reply;
  *reply.mutable_orders() = orders;
  return reply;
}

absl::StatusOr<proto::OrdersReply> RunState::SaveNow(const std::string& run_id) {
  return Order(run_id, [](proto::Orders* orders) {
    orders->set_save_generation(orders->save_generation() + 1);
  });
}

absl::StatusOr<proto::OrdersReply> RunState::Stop(const std::string& run_id) {
  return Order(run_id, [](proto::Orders* orders) { orders->set_stop(true); });
}

absl::Status RunState::OpenStream(const proto::DirectivesRequest& request) {
  std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(Member * member, Caller(request.identity()));
  ++member->streams;
  return absl::OkStatus();
}

void RunState::CloseStream(const proto::Identity& id) {
  std::lock_guard lock(mutex_);
  const auto member = members_.find(id.rank());
  // A stream of an earlier membership ends after its member was replaced.
  if (member == members_.end() || id.view() != decisions_->view()) return;
  if (member->second.streams > 0) --member->second.streams;
}

absl::StatusOr<std::optional<proto::DirectiveEvent>> RunState::NextEvent(
    const proto::Identity& identity, int64_t from_step, int64_t sequence) {
  std::lock_guard lock(mutex_);
  RETURN_IF_ERROR(Find(identity).status());  // sending to a rank is no sign of its life
  const std::deque<Directive>& all = decisions_->directives();
  const int64_t first = decisions_->first_sequence();
  for (sequence = std::max(sequence, first); sequence - first < std::ssize(all); ++sequence) {
    const Directive& directive = all[static_cast<size_t>(sequence - first)];
    if (directive.through < from_step) continue;
    proto::DirectiveEvent event;
    event.set_term(decisions_->term());
    event.set_view(decisions_->view());
    event.set_sequence(sequence);
    *event.mutable_directive() = ToProto(directive);
    return event;
  }
  return std::nullopt;
}

absl::Status RunState::Able() {
  std::lock_guard lock(mutex_);
  return decisions_->Durable();
}

proto::StatusReply RunState::Status() {
  std::lock_guard lock(mutex_);
  proto::StatusReply reply;
  reply.set_run_id(decisions_->run_id());
  reply.set_config_hash(options_.decisions.config_hash);
  reply.set_term(decisions_->term());
  reply.set_view(decisions_->view());
  reply.set_world(world_);
  reply.set_incarnation(decisions_->incarnation());
  reply.set_policy(decisions_->policy());
  reply.set_next_step(decisions_->next_step());
  reply.set_total_steps(options_.total_steps);
  reply.set_loss(loss_);
  reply.set_tokens(tokens_);
  reply.set_bad_steps(bad_steps_);
  reply.set_directives(decisions_->first_sequence() + std::ssize(decisions_->directives()));
  for (const Directive& directive : decisions_->directives()) {
    if (directive.from > decisions_->next_step()) break;
    reply.set_label(directive.label);
    reply.set_switches(directive.phase);
  }
  *reply.mutable_orders() = decisions_->orders();
  if (recent_.size() > 1 && recent_.back().ms > recent_.front().ms) {
    int64_t tokens = 0;
    for (size_t i = 1; i < recent_.size(); ++i) tokens += recent_[i].tokens;
    reply.set_tokens_per_second(1e3 * static_cast<double>(tokens) /
                                static_cast<double>(recent_.back().ms - recent_.front().ms));
  }
  for (const auto& [rank, member] : members_) {
    proto::RankStatus* status = reply.add_ranks();
    status->set_rank(rank);
    status->set_host(member.joined.host());
    status->set_incarnation(member.joined.identity().incarnation());
    *status->mutable_progress() = member.progress;
    status->set_silent_ms(options_.now_ms() - member.heard_ms);
    status->set_connected(member.streams > 0);
    status->set_left(member.left);
  }
  return reply;
}

}  // namespace blockstep
