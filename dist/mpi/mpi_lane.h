// One lane of the MPI thread (dist/mpi/mpi_thread.h): a stream whose thread looks at its head and
// goes on, so that what one lane waits for never holds the other. Knows nothing of MPI.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "core/device/host_stream.h"

namespace blockstep {

// Wakes the thread. An event may ring it when the thread has gone, so it is shared.
class LaneBell {
 public:
  void Ring();
  // Returns when it has rung since the last sleep or nap ended.
  void Sleep();
  // The same, after `longest` at the latest.
  void Nap(std::chrono::microseconds longest);

 private:
  std::mutex mutex_;
  std::condition_variable ringing_;
  bool rung_ = false;
};

// What one look at a lane has shown.
enum class LaneLook {
  kEmpty,    // no work
  kDone,     // the work whose turn it was is done
  kMoved,    // part of it is
  kWaiting,  // it waits for something that must be looked at
  kAsleep,   // it waits for an event that rings
};

class MpiLane : public HostStream {
 public:
  // `failed_call` belongs to the thread, which shows it to both lanes.
  MpiLane(std::string name, ThreadPool* pool, std::shared_ptr<LaneBell> bell,
          absl::Status* failed_call)
      : HostStream(std::move(name), pool), bell_(std::move(bell)), failed_call_(failed_call) {}

  // Returns at once, as the two below. The other lane stands still while `work` runs.
  void Run(std::function<void()> work) override;
  // Also fails if such work of the other lane did: a call of MPI that failed may have left messages
  // under way, which further calls would let write to memory that its owner has given up.
  void RunPolled(PolledWork work) override;
  void Wait(const Event& event) override;

  // On the thread: does what can be done of the work whose turn it is.
  LaneLook Look();

 private:
  using Work = std::function<LaneLook()>;
  void Push(Work work);

  const std::shared_ptr<LaneBell> bell_;
  absl::Status* const failed_call_;
  std::mutex mutex_;
  std::deque<Work> queue_;
  Work head_;  // of the thread alone
};

}  // namespace blockstep
