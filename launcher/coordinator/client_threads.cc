// What a rank's three threads do: directives in, reports out, heartbeats.
#include <algorithm>

#include "core/base/status.h"
#include "launcher/config/step_proto.h"
#include "launcher/coordinator/call_status.h"
#include "launcher/coordinator/client_retry.h"
#include "launcher/coordinator/coordinator_client.h"

namespace blockstep {

void CoordinatorClient::StreamLoop() {
  while (true) {
    const absl::Status status = Retry("directives", kForever, [&] {
      proto::DirectivesRequest request;
      {
        std::lock_guard lock(mutex_);
        *request.mutable_identity() = Self();
        request.set_from_step(covered_ + 1);
      }
      return Once("directives", kStreamLife, [&](grpc::ClientContext* context) {
        grpc::Status result;
        ReadStream(context, request, &result);
        return result;
      });
    });
    if (!status.ok()) return Fail(status);
    if (!Sleep(kFirstPause)) return;
  }
}

void CoordinatorClient::ReadStream(grpc::ClientContext* context,
                                   const proto::DirectivesRequest& request, grpc::Status* result) {
  auto reader = stub_->Directives(context, request);
  proto::DirectiveEvent event;
  while (reader->Read(&event)) {
    Heard();
    Take(event);
  }
  *result = reader->Finish();
}

void CoordinatorClient::Take(const proto::DirectiveEvent& event) {
  if (!event.has_directive()) {
    return Fail(DataLoss("directives: expected a directive, got an event of another kind"));
  }
  absl::StatusOr<Directive> directive = FromProto(event.directive());
  if (!directive.ok()) return Fail(directive.status());
  std::unique_lock lock(mutex_);
  if (event.term() != term_ || directive->through <= covered_) return;  // held already
  if (directive->from > covered_ + 1) {
    const std::string text =
        Cat("directives: expected one from step ", covered_ + 1, ", got ", directive->from);
    lock.unlock();
    return Fail(absl::DataLossError(text));
  }
  covered_ = directive->through;
  held_.push_back(std::move(*directive));
  changed_.notify_all();
}

void CoordinatorClient::ReportLoop() {
  while (true) {
    StepReport next;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return ending_ || !reports_.empty(); });
      if (ending_) return;
      next = reports_.front();
    }
    const absl::Status status = Retry("report", kForever, [&] {
      proto::ReportRequest request;
      {
        std::lock_guard lock(mutex_);
        *request.mutable_identity() = Self();
      }
      *request.mutable_report() = ToProto(next);
      proto::ReportReply reply;
      return Once("report", options_.call_s, [&](grpc::ClientContext* context) {
        return stub_->Report(context, request, &reply);
      });
    });
    if (!status.ok()) return Fail(status);
    Heard();
    std::lock_guard lock(mutex_);
    reports_.pop_front();
    changed_.notify_all();
  }
}

void CoordinatorClient::HeartbeatLoop() {
  do {
    proto::HeartbeatRequest request;
    {
      std::lock_guard lock(mutex_);
      *request.mutable_identity() = Self();
      proto::Progress* progress = request.mutable_progress();
      progress->set_step(progress_.step);
      progress->set_stage(ToProto(progress_.stage));
      progress->set_op(progress_.op);
      progress->set_sequence(progress_.sequence);
    }
    proto::HeartbeatReply reply;
    const absl::Status status = Once(
        "heartbeat", options_.call_s,
        [&](grpc::ClientContext* context) { return stub_->Heartbeat(context, request, &reply); });
    // The stream decides when the coordinator is lost; a heartbeat only helps it to learn of a new
    // term, or that this worker was replaced.
    if (status.ok()) {
      Heard();
      std::lock_guard lock(mutex_);
      orders_ = reply.orders();
    } else if (absl::IsAborted(status)) {
      const absl::Status joined = JoinAgain(request.identity().term());
      if (!joined.ok() && !MayHeal(joined)) return Fail(joined);
    } else if (!MayHeal(status)) {
      return Fail(status);
    }
  } while (Sleep(options_.heartbeat_s));
}

}  // namespace blockstep
