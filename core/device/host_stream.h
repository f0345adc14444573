// Streams whose work is host code: the compute stream of the CPU backend and communication.
#pragma once

#include <functional>
#include <mutex>
#include <string>

#include "core/device/stream.h"

namespace blockstep {

class HostStream : public Stream {
 public:
  using Stream::Stream;

  // Runs `work` after everything handed in before. Returns at once or after the work, by kind of
  // stream; captures must stay valid until an Event recorded later has been reached.
  virtual void Run(std::function<void()> work) = 0;
  // The same for work that can fail: status() keeps the first failure.
  void RunFallible(std::function<absl::Status()> work);

  Event Record() override;
  void Wait(const Event& event) override;
  absl::Status Synchronize() override;
  absl::Status status() const override;
  void BeginSpan(const Span& span) override;
  void EndSpan(const Span& span, Tracer* tracer) override;

 private:
  bool failed() const;

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
