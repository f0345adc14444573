#include "core/base/thread_pool.h"

#include "core/base/check.h"

namespace blockstep {

namespace {

void StopAll(std::mutex& mutex, bool& stop, std::condition_variable& wake,
             std::vector<std::thread>& workers) {
  {
    std::lock_guard lock(mutex);
    stop = true;
  }
  wake.notify_all();
  for (std::thread& worker : workers) worker.join();
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  CHECK_GE(threads, 1);
  try {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { Work(i); });
  } catch (...) {  // the system gives no more: those that run must end before they are forgotten
    StopAll(mutex_, stop_, wake_, workers_);
    throw;
  }
}

ThreadPool::~ThreadPool() { StopAll(mutex_, stop_, wake_, workers_); }

void ThreadPool::Drain(Loop& loop, int worker) {
  for (int64_t i; (i = loop.next.fetch_add(1)) < loop.items;) (*loop.body)(i, worker);
}

void ThreadPool::ParallelFor(int64_t items, const std::function<void(int64_t)>& body) {
  ParallelForWorker(items, [&body](int64_t i, int) { body(i); });
}

void ThreadPool::ParallelForWorker(int64_t items, const std::function<void(int64_t, int)>& body) {
  if (items <= 0) return;
  // Held by short loops too: worker index 0 belongs to one caller at a time.
  std::lock_guard one_loop(loop_mutex_);
  if (workers_.empty() || items == 1) {
    for (int64_t i = 0; i < items; ++i) body(i, 0);
    return;
  }
  {
    std::lock_guard lock(mutex_);
    loop_.body = &body;
    loop_.items = items;
    loop_.next = 0;
    ++generation_;
  }
  wake_.notify_all();
  Drain(loop_, 0);
  // A worker that woke late finds next >= items and leaves at once; none may still be inside when
  // the body goes out of scope.
  std::unique_lock lock(mutex_);
  done_.wait(lock, [this] { return loop_.inside.load() == 0; });
  loop_.body = nullptr;
}

void ThreadPool::Work(int worker) {
  uint64_t seen = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [&] { return stop_ || (generation_ != seen && loop_.body != nullptr); });
    if (stop_) return;
    seen = generation_;
    loop_.inside.fetch_add(1);
    lock.unlock();
    Drain(loop_, worker);
    lock.lock();
    if (loop_.inside.fetch_sub(1) == 1) done_.notify_all();
  }
}

}  // namespace blockstep
