#include "dist/mpi/mpi_lane.h"

#include <utility>

namespace blockstep {

void LaneBell::Ring() {
  {
    std::lock_guard lock(mutex_);
    rung_ = true;
  }
  ringing_.notify_one();
}

void LaneBell::Sleep() {
  std::unique_lock lock(mutex_);
  ringing_.wait(lock, [this] { return rung_; });
  rung_ = false;
}

void LaneBell::Nap(std::chrono::microseconds longest) {
  std::unique_lock lock(mutex_);
  ringing_.wait_for(lock, longest, [this] { return rung_; });
  rung_ = false;
}

void MpiLane::Push(Work work) {
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(work));
  }
  bell_->Ring();
}

void MpiLane::Run(std::function<void()> work) {
  Push([work = std::move(work)] {
    work();
    return LaneLook::kDone;
  });
}

void MpiLane::RunPolled(PolledWork work) {
  Push([this, work = std::move(work)] {
    if (failed()) return LaneLook::kDone;
    if (!failed_call_->ok()) {
      Fail(*failed_call_);
      return LaneLook::kDone;
    }
    const absl::StatusOr<Polled> polled = work();
    if (!polled.ok()) {
      *failed_call_ = polled.status();
      Fail(polled.status());
      return LaneLook::kDone;
    }
    switch (*polled) {
      case Polled::kDone:
        return LaneLook::kDone;
      case Polled::kProgress:
        return LaneLook::kMoved;
      case Polled::kWaiting:
        break;
    }
    return LaneLook::kWaiting;
  });
}

void MpiLane::Wait(const Event& event) {
  if (event.done()) return;
  Push([event, bell = bell_, asked = false, rings = false]() mutable {
    if (event.done()) return LaneLook::kDone;
    if (!asked) {
      asked = true;
      rings = event.state()->Then([bell] { bell->Ring(); });
    }
    return rings ? LaneLook::kAsleep : LaneLook::kWaiting;
  });
}

LaneLook MpiLane::Look() {
  if (!head_) {
    std::lock_guard lock(mutex_);
    if (queue_.empty()) return LaneLook::kEmpty;
    head_ = std::move(queue_.front());
    queue_.pop_front();
  }
  const LaneLook look = head_();
  if (look == LaneLook::kDone) head_ = nullptr;  // before what comes next can tell of it
  return look;
}

}  // namespace blockstep
