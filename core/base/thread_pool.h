// One pool of threads per rank. Work is handed out as items of a fixed grid, taken dynamically;
// what an item computes must not depend on who takes it, so results never depend on the thread
// count.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace blockstep {

class ThreadPool {
 public:
  // `threads` >= 1 counts the caller: ThreadPool(1) starts none.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(i) once for each i in [0, items), on the caller and the workers; returns when all
  // are done. One loop at a time: a second caller waits. Not to be called from inside a body.
  void ParallelFor(int64_t items, const std::function<void(int64_t)>& body);
  // The same as body(i, worker), worker in [0, threads()) and held by one thread at a time: an
  // index of scratch, on which results must not depend.
  void ParallelForWorker(int64_t items, const std::function<void(int64_t, int)>& body);

 private:
  struct Loop {
    const std::function<void(int64_t, int)>* body = nullptr;
    int64_t items = 0;
    std::atomic<int64_t> next{0};
    std::atomic<int> inside{0};
  };
  void Work(int worker);
  static void Drain(Loop& loop, int worker);

  std::vector<std::thread> workers_;
  std::mutex loop_mutex_;  // held by the caller of ParallelFor
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  Loop loop_;
  uint64_t generation_ = 0;
  bool stop_ = false;
};

}  // namespace blockstep
