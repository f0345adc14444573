// The thread that makes every MPI call of a process, MPI_Init_thread and MPI_Finalize included, and
// its two lanes. Each lane is a stream: its work runs in the order given. The thread looks at the
// head of both by turns, control first, so neither lane waits for what the other waits for: a late
// peer or compute. It sleeps while there is no work or only events to wait for that ring; while
// messages are under way, or an event that cannot ring, it looks with the pauses of Patience.
#pragma once

#include <atomic>
#include <memory>
#include <thread>

#include "dist/mpi/mpi_lane.h"

namespace blockstep {

class MpiThread {
 public:
  MpiThread();
  ~MpiThread();  // runs what was handed in to either lane, then ends the thread
  MpiThread(const MpiThread&) = delete;

  HostStream& control() { return control_; }
  HostStream& data() { return data_; }

 private:
  void Loop();

  const std::shared_ptr<LaneBell> bell_ = std::make_shared<LaneBell>();
  ThreadPool pool_{1};
  absl::Status failed_call_;  // of the thread alone
  MpiLane control_{"control", &pool_, bell_, &failed_call_};
  MpiLane data_{"comm", &pool_, bell_, &failed_call_};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace blockstep
