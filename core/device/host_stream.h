// Streams whose work is host code: the compute stream of the CPU backend and communication.
#pragma once

#include <functional>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "core/device/stream.h"

namespace blockstep {

// What one look at work in flight has shown.
enum class Polled {
  kWaiting,   // nothing new
  kProgress,  // part of it is done
  kDone,
};
// Work that others bring to its end: each call looks, does what has become possible, and returns.
using PolledWork = std::function<absl::StatusOr<Polled>()>;

class HostStream : public Stream {
 public:
  using Stream::Stream;

  // Runs `work` after everything handed in before. Returns at once or after the work, by kind of
  // stream; captures must stay valid until an Event recorded later has been reached.
  virtual void Run(std::function<void()> work) = 0;
  // The same for work that can fail: status() keeps the first failure.
  void RunFallible(std::function<absl::Status()> work);
  // In its turn, calls `work` until it is done or fails; status() keeps the first failure. Nothing
  // after it starts before. By default this holds the stream's thread, with pauses between calls.
  virtual void RunPolled(PolledWork work);

  Event Record() override;
  void Wait(const Event& event) override;
  absl::Status Synchronize() override;
  absl::Status status() const override;
  void BeginSpan(const Span& span) override;
  void EndSpan(const Span& span, Tracer* tracer) override;

 protected:
  bool failed() const;
  void Fail(absl::Status status);  // kept if it is the first

 private:
  mutable std::mutex status_mutex_;
  absl::Status status_;
};

// The stream of a host backend or communicator, which `stream` must be.
HostStream& OnHost(Stream& stream);

// Runs everything at once on the caller's thread: the compute stream of the CPU backend.
class InlineStream : public HostStream {
 public:
  using HostStream::HostStream;
  void Run(std::function<void()> work) override { work(); }
};

}  // namespace blockstep
