#include "launcher/coordinator/coordinator_client.h"

#include <algorithm>
#include <optional>
#include <random>

#include "core/base/status.h"
#include "launcher/config/step_proto.h"
#include "launcher/coordinator/call_status.h"
#include "launcher/coordinator/client_retry.h"

namespace blockstep {
namespace {

uint64_t RandomNonce() {
  std::random_device source;
  return (static_cast<uint64_t>(source()) << 32) | source();
}

}  // namespace

CoordinatorClient::CoordinatorClient(CoordinatorClientOptions options)
    : options_(std::move(options)),
      nonce_(RandomNonce()),
      channel_(MakeChannel(options_.channel)),
      stub_(proto::Coordinator::NewStub(channel_)),
      heard_(Clock::now()),
      covered_(options_.resume_step - 1) {
  if (options_.resume != nullptr) resume_ = *options_.resume;
  progress_.step = options_.resume_step;
}

absl::StatusOr<std::unique_ptr<CoordinatorClient>> CoordinatorClient::Connect(
    CoordinatorClientOptions options) {
  std::unique_ptr<CoordinatorClient> client(new CoordinatorClient(std::move(options)));
  RETURN_IF_ERROR(client->FirstJoin());
  client->threads_.emplace_back([c = client.get()] { c->StreamLoop(); });
  client->threads_.emplace_back([c = client.get()] { c->HeartbeatLoop(); });
  if (client->options_.rank == 0) {
    client->threads_.emplace_back([c = client.get()] { c->ReportLoop(); });
  }
  return client;
}

CoordinatorClient::~CoordinatorClient() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
    for (grpc::ClientContext* call : calls_) call->TryCancel();
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

proto::Identity CoordinatorClient::Self() const {
  proto::Identity self;
  self.set_run_id(options_.run_id);
  self.set_term(term_);
  self.set_view(view_);
  self.set_rank(options_.rank);
  self.set_incarnation(options_.incarnation);
  self.set_step(progress_.step);
  self.set_config_hash(options_.config_hash);
  self.set_build(options_.build);
  return self;
}

absl::Status CoordinatorClient::Once(
    std::string_view what, double deadline_s,
    const std::function<grpc::Status(grpc::ClientContext*)>& call) {
  grpc::ClientContext context;
  context.set_deadline(Deadline(deadline_s));
  {
    std::lock_guard lock(mutex_);
    if (ending_) return absl::CancelledError("the client is shutting down");
    calls_.insert(&context);
  }
  const grpc::Status status = call(&context);
  {
    std::lock_guard lock(mutex_);
    calls_.erase(&context);
  }
  const absl::Status result = FromGrpc(status, what);
  if (!result.ok()) {
    std::lock_guard lock(mutex_);
    last_failure_ = result;
  }
  return Annotate(result, Cat("coordinator ", options_.channel.address));
}

void CoordinatorClient::Heard() {
  std::lock_guard lock(mutex_);
  heard_ = Clock::now();
  last_failure_ = absl::OkStatus();
}

void CoordinatorClient::Fail(const absl::Status& status) {
  std::lock_guard lock(mutex_);
  if (fatal_.ok() && !ending_) fatal_ = OnRank(status, Here());
  changed_.notify_all();
}

bool CoordinatorClient::Sleep(double seconds) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, Seconds(seconds), [&] { return ending_; });
}

bool CoordinatorClient::Pause(double seconds) {
  if (channel_->GetState(/*try_to_connect=*/true) == GRPC_CHANNEL_READY) return Sleep(seconds);
  // gRPC connects while somebody polls: where all threads sleep it looks every five seconds only.
  channel_->WaitForConnected(Deadline(seconds));
  return Sleep(0);
}

absl::Status CoordinatorClient::Join() {
  proto::JoinRequest request;
  {
    std::lock_guard lock(mutex_);
    *request.mutable_identity() = Self();
  }
  request.mutable_machine()->set_instruction_set(options_.instruction_set);
  for (const std::string& library : options_.libraries) {
    request.mutable_machine()->add_libraries(library);
  }
  request.set_world(options_.world);
  request.set_slot_exact(options_.slot_exact);
  request.set_resume_step(options_.resume_step);
  request.set_host(options_.host);
  request.set_nonce(nonce_);
  if (request.identity().term() == 0) {
    request.set_policy_state(resume_.policy_state);
    for (const Directive& directive : resume_.directives) {
      *request.add_directives() = ToProto(directive);
    }
  }
  proto::JoinReply reply;
  RETURN_IF_ERROR(Once("join", options_.call_s, [&](grpc::ClientContext* context) {
    return stub_->Join(context, request, &reply);
  }));
  Heard();
  std::lock_guard lock(mutex_);
  term_ = reply.term();
  view_ = reply.view();
  return absl::OkStatus();
}

absl::Status CoordinatorClient::FirstJoin() {
  const double mistake_s = std::min(kTlsMistakeS, options_.grace_s / 2);
  std::optional<Clock::time_point> since;
  return Retry("join", options_.grace_s, [&] {
    const absl::Status status = Join();
    const absl::Status why = ExplainCallFailure(options_.channel, status);
    if (!absl::IsUnauthenticated(why)) {
      since.reset();
      return why;
    }
    if (!since) since = Clock::now();
    return Clock::now() - *since < Seconds(mistake_s) ? status : Annotate(why, "join");
  });
}

absl::Status CoordinatorClient::JoinAgain(int64_t seen_term) {
  std::lock_guard one(join_mutex_);
  if (term() != seen_term) return absl::OkStatus();  // another thread did
  return Join();
}

absl::Status CoordinatorClient::Retry(std::string_view what, double patience,
                                      const std::function<absl::Status()>& call) {
  const Clock::time_point begin = Clock::now();
  double pause = kFirstPause;
  bool just_joined = false;
  while (true) {
    const int64_t seen_term = term();
    absl::Status status = call();
    if (absl::IsAborted(status)) {
      const absl::Status joined = JoinAgain(seen_term);
      if (joined.ok() && !just_joined) {
        just_joined =
            true;  // so that a coordinator which aborts everything is not called in a spin
        pause = kFirstPause;
        continue;
      }
      if (!joined.ok()) status = joined;
    }
    just_joined = false;
    if (status.ok() || !MayHeal(status)) return status;
    const bool twin = absl::IsAlreadyExists(status);
    const double limit = twin ? std::min(patience, options_.duplicate_s) : patience;
    if (std::chrono::duration<double>(Clock::now() - begin).count() > limit) {
      return absl::Status(twin ? absl::StatusCode::kAlreadyExists : absl::StatusCode::kUnavailable,
                          Cat(what, ": gave up after ", limit, " s: ", status.message()));
    }
    // The client's own threads go on: the run may have steps to finish.
    if (patience < kForever && options_.stop_seen && options_.stop_seen()) {
      return Unavailable(what, ": asked to stop: ", status.message());
    }
    if (!Pause(pause)) return absl::CancelledError("the client is shutting down");
    pause = std::min(2 * pause, kLongestPause);
  }
}

bool CoordinatorClient::Lost() const {
  return std::chrono::duration<double>(Clock::now() - heard_).count() > options_.grace_s;
}

bool CoordinatorClient::Stopped() const {
  return orders_.stop() || (options_.stop_seen && options_.stop_seen());
}

std::string CoordinatorClient::Silence() const {
  return Cat("no contact for ",
             std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - heard_).count(),
             " s (coordinator.grace_s ", options_.grace_s, ")",
             last_failure_.ok() ? "" : Cat("; the last call: ", last_failure_.message()));
}

absl::StatusOr<Directive> CoordinatorClient::Await(int64_t step) {
  std::unique_lock lock(mutex_);
  const Clock::time_point begin = Clock::now();
  bool noted = options_.note == nullptr;
  while (true) {
    if (!fatal_.ok() && step > promised_) return fatal_;
    if (covered_ >= step) break;
    const double waited = std::chrono::duration<double>(Clock::now() - begin).count();
    if (Lost()) {
      return OnRank(Unavailable("no contact with coordinator ", options_.channel.address, " for ",
                                options_.grace_s, " s at step ", step,
                                last_failure_.ok() ? "" : Cat(": ", last_failure_.message())),
                    Here());
    }
    if (waited > kStopPatience && Stopped()) {
      return OnRank(
          Unavailable("asked to stop while waiting for coordinator ", options_.channel.address,
                      " to decide step ", step, ", ", Silence()),
          Here());
    }
    if (waited > options_.grace_s) {
      const bool answers = last_failure_.ok();
      return OnRank(Unavailable("coordinator ", options_.channel.address,
                                answers ? " responds but sent" : " sent", " no directive for step ",
                                step, " within ", options_.grace_s, " s; the last covers step ",
                                covered_, answers ? "" : Cat("; ", Silence())),
                    Here());
    }
    if (!noted && waited > options_.note_s) {
      options_.note(Cat("waiting for the coordinator at ", options_.channel.address,
                        " to decide step ", step, ", ", Silence()));
      noted = true;
    }
    changed_.wait_for(lock, Seconds(0.1));
  }
  while (!held_.empty() && held_.front().through < step - kKeptSteps) held_.pop_front();
  for (const Directive& directive : held_) {
    if (directive.from <= step && step <= directive.through) return directive;
  }
  return OnRank(Internal("step ", step, " precedes the directives held"), Here());
}

const Directive* CoordinatorClient::TryAwait(int64_t step) {
  std::lock_guard lock(mutex_);
  if (!fatal_.ok()) return nullptr;
  for (const Directive& directive : held_) {
    if (directive.from <= step && step <= directive.through) {
      last_given_ = directive;
      promised_ = step;
      return &last_given_;
    }
  }
  return nullptr;
}

absl::Status CoordinatorClient::Report(const StepReport& report) {
  std::lock_guard lock(mutex_);
  if (options_.rank != 0) return absl::OkStatus();
  reports_.push_back(report);
  changed_.notify_all();
  return absl::OkStatus();
}

void CoordinatorClient::SetProgress(RankProgress progress) {
  std::lock_guard lock(mutex_);
  progress_ = std::move(progress);
}

absl::StatusOr<proto::StatusReply> CoordinatorClient::Status(double deadline_s) {
  proto::StatusReply reply;
  RETURN_IF_ERROR(Once("status", deadline_s, [&](grpc::ClientContext* context) {
    return stub_->Status(context, {}, &reply);
  }));
  return reply;
}

bool CoordinatorClient::stop_requested() const {
  std::lock_guard lock(mutex_);
  return orders_.stop();
}

int64_t CoordinatorClient::save_generation() const {
  std::lock_guard lock(mutex_);
  return orders_.save_generation();
}

int64_t CoordinatorClient::term() const {
  std::lock_guard lock(mutex_);
  return term_;
}

absl::Status CoordinatorClient::Leave(const std::string& reason) {
  {
    std::unique_lock lock(mutex_);
    // Who asked to stop need not wait for what the checkpoint has: its policy state wins.
    const Clock::time_point begin = Clock::now();
    const auto patient = [&] {
      return Clock::now() - begin < Seconds(Stopped() ? options_.call_s : options_.grace_s);
    };
    while (!reports_.empty() && fatal_.ok() && !Lost() && patient()) {
      changed_.wait_for(lock, Seconds(0.1));
    }
    if (!fatal_.ok()) return fatal_;
    if (!reports_.empty()) {
      return Unavailable("coordinator ", options_.channel.address, ": ", reports_.size(),
                         " reports were not accepted within ", options_.grace_s, " s");
    }
  }
  proto::LeaveRequest request;
  {
    std::lock_guard lock(mutex_);
    *request.mutable_identity() = Self();
  }
  request.set_reason(reason);
  proto::LeaveReply reply;
  return Once("leave", options_.call_s,
              [&](grpc::ClientContext* context) { return stub_->Leave(context, request, &reply); });
}

}  // namespace blockstep
