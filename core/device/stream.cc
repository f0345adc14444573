#include "core/device/stream.h"

#include "core/base/trace.h"

namespace blockstep {

bool Event::done() const {
  if (state_ == nullptr) return true;
  std::lock_guard lock(state_->mutex);
  return state_->done;
}

void Event::Block() const {
  if (state_ == nullptr) return;
  std::unique_lock lock(state_->mutex);
  state_->reached.wait(lock, [this] { return state_->done; });
}

Event Event::Pending() {
  Event event;
  event.state_ = std::make_shared<State>();
  return event;
}

void Event::Fire() const {
  {
    std::lock_guard lock(state_->mutex);
    state_->done = true;
  }
  state_->reached.notify_all();
}

void Stream::RunFallible(std::function<absl::Status()> work) {
  Run([this, work = std::move(work)] {
    if (failed()) return;
    absl::Status status = work();
    if (status.ok()) return;
    std::lock_guard lock(status_mutex_);
    if (status_.ok()) status_ = std::move(status);
  });
}

Event Stream::Record() {
  Event event = Event::Pending();
  Run([event] { event.Fire(); });
  return event;
}

void Stream::Wait(const Event& event) {
  if (event.done()) return;
  Run([event] { event.Block(); });
}

absl::Status Stream::Synchronize() {
  Record().Block();
  return status();
}

absl::Status Stream::status() const {
  std::lock_guard lock(status_mutex_);
  return status_;
}

bool Stream::failed() const {
  std::lock_guard lock(status_mutex_);
  return !status_.ok();
}

void TracedWait(Stream& stream, const Event& event, Tracer* tracer, const char* what) {
  if (tracer == nullptr || event.done()) return stream.Wait(event);
  stream.Run([event, tracer, what] {
    ScopedSpan span(tracer, "compute", what);
    event.Block();
  });
}

}  // namespace blockstep
