// Ends waits that nothing else would end: a thread that looks at this rank's communication and,
// when a call waits, asks what the other ranks do. MPI notices neither a stopped process nor a cut
// link, and a call blocked inside it cannot be cancelled, so the end is the process's. A disk that
// does not answer is the same.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "absl/status/statusor.h"
#include "core/base/trace.h"
#include "launcher/train/watchdog/hang_report.h"

namespace blockstep {

struct WatchdogOptions {
  int rank = 0;
  const RunPlace* place = nullptr;  // its disk: what training waits for there
  std::function<CommProgress()> progress;
  // Every rank as the coordinator knows it, this one included.
  std::function<absl::StatusOr<std::vector<PeerState>>(double deadline_s)> peers;
  // Hands on where this rank is; called at each look.
  std::function<void(int64_t step, RunStage stage, const CommProgress& comm)> tell;
  // Given the report, once. The program prints it and ends the process.
  std::function<void(const std::string& report)> on_hang;

  // Given a line when training has waited for the disk for a while, and each time that doubles.
  std::function<void(const std::string& text)> on_disk_wait;
  // Given the same, once, when the limit is reached. The program prints it and ends the process.
  std::function<void(const std::string& text)> on_disk_stuck;

  // (optional) The launcher is ending this process, as mpirun does when another rank died: there is
  // about a second to say what was seen.
  std::function<bool()> ending;

  double lease_s = 15;        // a rank that died or stopped is reported within this time
  double patience_s = 0;      // the coordinator may be away for so long beyond the lease
  double limit_s = 310;       // longest wait in any call
  double disk_say_s = 5;      // a wait for the disk that is worth a word
  double disk_limit_s = 240;  // longest wait for one operation on a file
  double look_s = 0.1;
  std::function<int64_t()> now_ns = Tracer::Now;  // the clock of CommProgress::since_ns
};

class Watchdog {
 public:
  explicit Watchdog(WatchdogOptions options);
  ~Watchdog();

 private:
  void Loop();
  // True: the wait is hopeless, and `facts` says why.
  bool Hangs(const CommProgress& comm, HangFacts& facts);
  double NowS() const { return static_cast<double>(o_.now_ns()) * 1e-9; }
  // True: the wait for the disk has reached its limit. Speaks of shorter ones.
  bool DiskStuck(const DiskWatch::State& disk);

  const WatchdogOptions o_;
  int lost_looks_ = 0;  // in a row in which some rank was lost
  double answered_at_s_ = 0, asked_at_s_ = 0;
  double said_s_ = 0;  // of the wait for the disk, when it was last spoken of
  std::mutex mutex_;
  std::condition_variable ending_changed_;
  bool ending_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace blockstep
