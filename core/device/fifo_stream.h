// A stream with a thread of its own: communication between ranks that are threads, work beside
// training, and every stream of the `guarded` backend.
#pragma once

#include <cstdint>
#include <deque>
#include <thread>

#include "core/device/host_stream.h"

namespace blockstep {

struct FifoOptions {
  // Before each piece of work sleeps a random time up to this many microseconds, drawn from `seed`:
  // makes missing waits visible. 0: never.
  int max_delay_us = 0;
  uint64_t seed = 0;
};

class FifoStream : public HostStream {
 public:
  FifoStream(std::string name, ThreadPool* pool, FifoOptions options = {});
  ~FifoStream() override;  // runs what was handed in, then ends the thread

  void Run(std::function<void()> work) override;

 private:
  void Loop();

  FifoOptions options_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace blockstep
