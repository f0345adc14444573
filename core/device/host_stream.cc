#include "core/device/host_stream.h"

#include <condition_variable>

#include "core/base/check.h"

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
  void Fire() {
    {
      std::lock_guard lock(mutex_);
      done_ = true;
    }
    reached_.notify_all();
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable reached_;
  bool done_ = false;
};

}  // namespace

void HostStream::RunFallible(std::function<absl::Status()> work) {
  Run([this, work = std::move(work)] {
    if (failed()) return;
    absl::Status status = work();
    if (status.ok()) return;
    std::lock_guard lock(status_mutex_);
    if (status_.ok()) status_ = std::move(status);
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
