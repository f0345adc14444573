#include "launcher/coordinator/coordinator_service.h"

#include "core/base/check.h"
#include "launcher/coordinator/call_status.h"

namespace blockstep {
namespace {

grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context, const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(status));
  return reactor;
}

template <typename Reply>
grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context, absl::StatusOr<Reply> result,
                                 Reply* reply) {
  if (result.ok()) *reply = std::move(*result);
  return Answer(context, result.status());
}

}  // namespace

// One rank's directives: sends what there is, then sleeps until Wake. At most one write is under
// way.
class CoordinatorService::Stream final : public grpc::ServerWriteReactor<proto::DirectiveEvent> {
 public:
  Stream(CoordinatorService* service, const proto::DirectivesRequest& request)
      : service_(service), request_(request) {
    std::lock_guard lock(service_->mutex_);
    const absl::Status opened = service_->state_->OpenStream(request_);
    open_ = opened.ok();
    service_->streams_.insert(this);
    if (service_->ended_) {
      End({grpc::StatusCode::UNAVAILABLE, "the coordinator is shutting down"});
    } else if (!open_) {
      End(ToGrpc(opened));
    } else {
      // Clients learn at once that the stream stands, before there is a first directive.
      StartSendInitialMetadata();
      Pump();
    }
  }

  void Pump() {
    std::lock_guard lock(mutex_);
    if (writing_ || ended_) return;
    auto next = service_->state_->NextEvent(request_.identity(), request_.from_step(), sequence_);
    if (!next.ok()) {
      ended_ = true;
      Finish(ToGrpc(next.status()));
    } else if (next->has_value()) {
      event_ = std::move(**next);
      sequence_ = event_.sequence() + 1;
      writing_ = true;
      StartWrite(&event_);
    }
  }

  void End(const grpc::Status& status) {
    std::lock_guard lock(mutex_);
    if (!ended_) Finish(status);
    ended_ = true;
  }

  void OnWriteDone(bool ok) override {
    {
      std::lock_guard lock(mutex_);
      writing_ = false;
    }
    ok ? Pump() : End({grpc::StatusCode::UNAVAILABLE, "the stream failed"});
  }
  void OnCancel() override { End(grpc::Status::CANCELLED); }
  void OnDone() override {
    { std::lock_guard lock(mutex_); }  // sees whatever another thread did here, its making included
    {
      std::lock_guard lock(service_->mutex_);
      service_->streams_.erase(this);
      if (open_) service_->state_->CloseStream(request_.identity());
    }
    delete this;
  }

 private:
  CoordinatorService* const service_;
  const proto::DirectivesRequest request_;
  bool open_ = false;
  std::mutex mutex_;
  proto::DirectiveEvent event_;  // being written
  int64_t sequence_ = 0;
  bool writing_ = false, ended_ = false;
};

CoordinatorService::CoordinatorService(RunState* state) : state_(state) {
  state_->OnChange([this] { Wake(); });
}

CoordinatorService::~CoordinatorService() {
  std::lock_guard lock(mutex_);
  CHECK(streams_.empty());
}

void CoordinatorService::Wake() {
  std::lock_guard lock(mutex_);
  for (Stream* stream : streams_) stream->Pump();
}

void CoordinatorService::ShowHealth(grpc::HealthCheckServiceInterface* health) {
  {
    std::lock_guard lock(health_mutex_);
    health_ = health;
  }
  UpdateHealth();
}

// The state is read under the lock, so that the last of several calls shows the newest one.
void CoordinatorService::UpdateHealth() {
  std::lock_guard lock(health_mutex_);
  if (health_ != nullptr) health_->SetServingStatus(state_->Able().ok());
}

void CoordinatorService::EndStreams() {
  std::lock_guard lock(mutex_);
  ended_ = true;
  for (Stream* stream : streams_) {
    stream->End({grpc::StatusCode::UNAVAILABLE, "the coordinator is shutting down"});
  }
}

grpc::ServerWriteReactor<proto::DirectiveEvent>* CoordinatorService::Directives(
    Context*, const proto::DirectivesRequest* request) {
  return new Stream(this, *request);
}

CoordinatorService::Unary* CoordinatorService::Join(Context* context,
                                                    const proto::JoinRequest* request,
                                                    proto::JoinReply* reply) {
  absl::StatusOr<proto::JoinReply> result = state_->Join(*request);
  UpdateHealth();
  return Answer(context, std::move(result), reply);
}
CoordinatorService::Unary* CoordinatorService::Report(Context* context,
                                                      const proto::ReportRequest* request,
                                                      proto::ReportReply* reply) {
  absl::StatusOr<proto::ReportReply> result = state_->Report(*request);
  UpdateHealth();
  return Answer(context, std::move(result), reply);
}
CoordinatorService::Unary* CoordinatorService::Heartbeat(Context* context,
                                                         const proto::HeartbeatRequest* request,
                                                         proto::HeartbeatReply* reply) {
  return Answer(context, state_->Heartbeat(*request), reply);
}
CoordinatorService::Unary* CoordinatorService::Leave(Context* context,
                                                     const proto::LeaveRequest* request,
                                                     proto::LeaveReply*) {
  return Answer(context, state_->Leave(*request));
}
CoordinatorService::Unary* CoordinatorService::Status(Context* context, const proto::StatusRequest*,
                                                      proto::StatusReply* reply) {
  *reply = state_->Status();
  return Answer(context, absl::OkStatus());
}
CoordinatorService::Unary* CoordinatorService::SaveNow(Context* context,
                                                       const proto::SaveNowRequest* request,
                                                       proto::OrdersReply* reply) {
  absl::StatusOr<proto::OrdersReply> result = state_->SaveNow(request->run_id());
  UpdateHealth();
  return Answer(context, std::move(result), reply);
}
CoordinatorService::Unary* CoordinatorService::Stop(Context* context,
                                                    const proto::StopRequest* request,
                                                    proto::OrdersReply* reply) {
  absl::StatusOr<proto::OrdersReply> result = state_->Stop(request->run_id());
  UpdateHealth();
  return Answer(context, std::move(result), reply);
}

}  // namespace blockstep
