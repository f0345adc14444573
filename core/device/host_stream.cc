#include "core/device/host_stream.h"

#include <condition_variable>
#include <vector>

#include "core/base/check.h"
#include "core/base/patience.h"
#include "core/base/status.h"

namespace blockstep {
namespace {

class HostPoint : public Event::State {
 public:
  bool done() const override {
    std::lock_guard lock(mutex_);
    return done_;
  }
  void Block() const override {
    std::unique_lock lock(mutex_);
    reached_.wait(lock, [this] { return done_; });
  }
  bool Then(std::function<void()> then) override {
    {
      std::lock_guard lock(mutex_);
      if (!done_) {
        then_.push_back(std::move(then));
        return true;
      }
    }
    then();
    return true;
  }
  void Fire() {
    std::vector<std::function<void()>> then;
    {
      std::lock_guard lock(mutex_);
      done_ = true;
      then.swap(then_);
    }
    reached_.notify_all();
    for (const auto& call : then) call();
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable reached_;
  bool done_ = false;
  std::vector<std::function<void()>> then_;
};

}  // namespace

void HostStream::RunFallible(std::function<absl::Status()> work) {
  Run([this, work = std::move(work)] {
    if (failed()) return;
    Fail(work());
  });
}

void HostStream::RunPolled(PolledWork work) {
  RunFallible([work = std::move(work)] {
    for (Patience patience;;) {
      ASSIGN_OR_RETURN(const Polled polled, work());
      if (polled == Polled::kDone) return absl::OkStatus();
      if (polled == Polled::kProgress) patience = {};
      patience.Pause();
    }
  });
}

Event HostStream::Record() {
  const auto point = std::make_shared<HostPoint>();
  Run([point] { point->Fire(); });
  return Event(point);
}

void HostStream::Wait(const Event& event) {
  if (event.done()) return;
  Run([event] { event.Block(); });
}

absl::Status HostStream::Synchronize() {
  Record().Block();
  return status();
}

absl::Status HostStream::status() const {
  std::lock_guard lock(status_mutex_);
  return status_;
}

bool HostStream::failed() const {
  std::lock_guard lock(status_mutex_);
  return !status_.ok();
}

void HostStream::Fail(absl::Status status) {
  if (status.ok()) return;
  std::lock_guard lock(status_mutex_);
  if (status_.ok()) status_ = std::move(status);
}

void HostStream::BeginSpan(const Span& span) {
  Run([span] { span->begin_ns = Tracer::Now(); });
}

void HostStream::EndSpan(const Span& span, Tracer* tracer) {
  Run([span, tracer] {
    span->end_ns = Tracer::Now();
    tracer->Add(*span);
  });
}

HostStream& OnHost(Stream& stream) {
  auto* host = dynamic_cast<HostStream*>(&stream);
  CHECK(host != nullptr);  // a kernel of one backend on a stream of another
  return *host;
}

}  // namespace blockstep
