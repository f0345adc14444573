// Ordered work on one processor. Work handed to a Stream runs in the order given; across streams
// only Events order. No host wait belongs inside a step except those of docs/architecture.md.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "core/base/thread_pool.h"

namespace blockstep {

class Tracer;

// A point in a stream's work. A copy is another handle of the same point. A default Event is done.
class Event {
 public:
  bool done() const;
  // Blocks the calling thread until the point has been reached.
  void Block() const;

 private:
  friend class Stream;
  struct State {
    mutable std::mutex mutex;
    mutable std::condition_variable reached;
    bool done = false;
  };
  static Event Pending();
  void Fire() const;
  std::shared_ptr<State> state_;
};

class Stream {
 public:
  explicit Stream(std::string name, ThreadPool* pool) : name_(std::move(name)), pool_(pool) {}
  virtual ~Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  const std::string& name() const { return name_; }
  // Threads that a kernel on this stream may use; never null.
  ThreadPool* pool() const { return pool_; }

  // Runs `work` after everything handed in before. Returns at once or after the work, by kind of
  // stream; captures must stay valid until an Event recorded later has been reached.
  virtual void Run(std::function<void()> work) = 0;

  // The same for work that can fail. After the first failure no later work runs on this stream
  // (its events still fire, so nobody hangs), and status() says why.
  void RunFallible(std::function<absl::Status()> work);

  // An event reached when all work handed in so far has run.
  Event Record();
  // Work handed in from now on starts after `event`.
  void Wait(const Event& event);
  // Blocks the caller until all work has run; the stream's status.
  absl::Status Synchronize();
  absl::Status status() const;

 protected:
  // True once a failure was seen: kinds of stream skip the work then.
  bool failed() const;

 private:
  std::string name_;
  ThreadPool* pool_;
  mutable std::mutex status_mutex_;
  absl::Status status_;
};

// Runs everything at once on the caller's thread: the compute stream of the CPU backend.
class InlineStream : public Stream {
 public:
  using Stream::Stream;
  void Run(std::function<void()> work) override { work(); }
};

// stream.Wait(event), leaving a span that shows how long the stream stood still.
void TracedWait(Stream& stream, const Event& event, Tracer* tracer, const char* what);

}  // namespace blockstep
