// Ordered work on one processor, made by a backend. Work handed to a Stream runs in the order
// given; across streams only Events order. No host wait belongs inside a step except those of
// docs/architecture.md. What host streams can do beyond this is in core/device/host_stream.h.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "core/base/thread_pool.h"
#include "core/base/trace.h"

namespace blockstep {

class Tracer;

// A point in a stream's work. A copy is another handle of the same point. A default Event is done.
class Event {
 public:
  // What the stream that recorded it knows about the point.
  class State {
   public:
    virtual ~State() = default;
    virtual bool done() const = 0;
    virtual void Block() const = 0;
    // Calls `then` once when the point is reached, on the thread that reaches it, or now if it has
    // been. False, and no call: points of this kind cannot.
    virtual bool Then(std::function<void()> then) {
      (void)then;
      return false;
    }
  };
  Event() = default;
  explicit Event(std::shared_ptr<State> state) : state_(std::move(state)) {}

  bool done() const { return state_ == nullptr || state_->done(); }
  // Blocks the calling thread until the point has been reached.
  void Block() const {
    if (state_ != nullptr) state_->Block();
  }
  // Null: done. A backend finds its own events by type.
  State* state() const { return state_.get(); }

 private:
  std::shared_ptr<State> state_;
};

class Stream {
 public:
  explicit Stream(std::string name, ThreadPool* pool) : name_(std::move(name)), pool_(pool) {}
  virtual ~Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  const std::string& name() const { return name_; }
  // Host threads that work on this stream may use; never null.
  ThreadPool* pool() const { return pool_; }

  // An event reached when all work handed in so far has run.
  virtual Event Record() = 0;
  // Work handed in from now on starts after `event`, of whatever stream.
  virtual void Wait(const Event& event) = 0;
  // Blocks the caller until all work has run; the stream's status.
  virtual absl::Status Synchronize() = 0;
  // The first failure of the stream's work. Work that can fail is skipped after it; events still
  // fire, so nobody hangs.
  virtual absl::Status status() const = 0;

  // `span` begins and ends where the stream reaches these calls, then goes to `tracer`.
  using Span = std::shared_ptr<TraceSpan>;
  virtual void BeginSpan(const Span& span) = 0;
  virtual void EndSpan(const Span& span, Tracer* tracer) = 0;

 private:
  std::string name_;
  ThreadPool* pool_;
};

// stream.Wait(event), leaving a span that shows how long the stream stood still.
void TracedWait(Stream& stream, const Event& event, Tracer* tracer, const char* what);

// stream.Wait(event), leaving a span that shows how long the stream stood still.
inline void TracedWait(Stream& stream, const Event& event, Tracer* tracer, const char* what) {
  if (tracer == nullptr || event.done()) return stream.Wait(event);
  const auto span = std::make_shared<TraceSpan>(TraceSpan{.name = what, .stream = stream.name()});
  stream.BeginSpan(span);
  stream.Wait(event);
  stream.EndSpan(span, tracer);
}

}  // namespace blockstep
