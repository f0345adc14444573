#include "core/device/fifo_stream.h"

#include <chrono>

#include "core/base/philox.h"

namespace blockstep {

FifoStream::FifoStream(std::string name, ThreadPool* pool, FifoOptions options)
    : HostStream(std::move(name), pool), options_(options), thread_([this] { Loop(); }) {}

FifoStream::~FifoStream() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void FifoStream::Run(std::function<void()> work) {
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(work));
  }
  wake_.notify_one();
}

void FifoStream::Loop() {
  for (uint64_t count = 0;; ++count) {
    std::function<void()> work;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stop_ || !queue_.empty(); });
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    if (options_.max_delay_us > 0) {
      const uint64_t word = DrawU64(options_.seed, RandomUse::kTest, 0, count);
      std::this_thread::sleep_for(
          std::chrono::microseconds(UniformBelow(word, options_.max_delay_us + 1)));
    }
    work();
  }
}

}  // namespace blockstep
