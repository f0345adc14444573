#include "launcher/train/watchdog/disk_watch.h"

#include <algorithm>
#include <utility>

namespace blockstep {

void DiskWatch::Operation(std::string operation) {
  std::lock_guard lock(mutex_);
  operation_ = std::move(operation);
  operation_since_ns_ = now_ns_();
}

DiskWatch::Wait::Wait(DiskWatch* watch, std::string what) : watch_(watch) {
  if (watch_ == nullptr) return;
  std::lock_guard lock(watch_->mutex_);
  what_before_ = std::exchange(watch_->what_, std::move(what));
  since_before_ = std::exchange(watch_->wait_since_ns_, watch_->now_ns_());
  ++watch_->waits_;
}

DiskWatch::Wait::~Wait() {
  if (watch_ == nullptr) return;
  std::lock_guard lock(watch_->mutex_);
  watch_->what_ = std::move(what_before_);
  watch_->wait_since_ns_ = since_before_;
  ++watch_->waits_;
}

DiskWatch::State DiskWatch::Look() const {
  std::lock_guard lock(mutex_);
  State state{.waits_for = what_, .operation = operation_, .waits = waits_};
  if (!what_.empty()) state.waited_s = state.stuck_s = SecondsSince(wait_since_ns_);
  if (!operation_.empty()) {
    state.operation_s = SecondsSince(operation_since_ns_);
    state.stuck_s = std::min(state.stuck_s, state.operation_s);
  }
  return state;
}

}  // namespace blockstep
