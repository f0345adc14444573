// Ends waits that nothing else would end. A thread watches this rank's communication and, when a
// call is waiting, asks the coordinator for the progress of the other ranks. MPI detects neither a
// stopped process nor a broken link, and a call blocked inside it cannot be cancelled, so the
// process has to exit; the same holds for a disk that does not respond and for compute without
// progress. It starts before MPI: MPI_Init and MPI_Finalize have no time-out of their own.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "absl/status/statusor.h"
#include "core/base/trace.h"
#include "launcher/train/watchdog/hang_report.h"

namespace blockstep {

// Each report is given once, as whole lines; the program prints it and ends the process.
struct WatchdogOptions {
  int rank = 0;
  int ranks = 0;  // of the run; 1: reports do not name the rank; 0: unknown
  std::function<void(const std::string& report)> on_hang;
  // Given a line when training has waited for the disk for a while, and each time that doubles.
  std::function<void(const std::string& text)> on_disk_wait;
  // Given the same, once, when the limit is reached.
  std::function<void(const std::string& text)> on_disk_stuck;
  std::function<void(const std::string& text)> on_compute_stuck;

  // (optional) The launcher is ending this process, as mpirun does when another rank died: there is
  // about a second to say what was seen.
  std::function<bool()> ending;

  double lease_s = 15;        // a rank that died or stopped is reported within this time
  double patience_s = 0;      // the coordinator may be away for so long beyond the lease
  double limit_s = 310;       // longest wait in any call
  double disk_say_s = 5;      // a wait for the disk that is worth a word
  double disk_limit_s = 240;  // longest wait for one operation on a file
  // Longest time of computing without a sign of progress; more where it took a 20th of that before.
  double compute_limit_s = 1800;
  double look_s = 0.1;
  std::function<int64_t()> now_ns = Tracer::Now;  // the clock of CommProgress::since_ns
  std::function<double()> now_s;                  // (optional) tests: a clock
};

// What the watchdog reads while a run is in progress.
struct WatchedRun {
  const WatchedProgress* training = nullptr;  // its disk: what training waits for there
  std::function<CommProgress()> progress;
  // Every rank as the coordinator knows it, this one included.
  std::function<absl::StatusOr<std::vector<PeerState>>(double deadline_s)> peers;
  // Reports this rank's progress; called at each check.
  std::function<void(int64_t step, RunStage stage, const CommProgress& comm)> tell;
};

// A call that cannot be cancelled and has no time-out of its own.
struct BoundedCall {
  std::string name;  // "MPI_Init"
  double limit_s = 0;
  std::string hint;  // the likely cause, after "MPI_Init timed out after 300 s: "
  // Given the report. The program prints it and ends the process.
  std::function<void(const std::string& report)> on_timeout;
};

class Watchdog {
 public:
  explicit Watchdog(WatchdogOptions options);
  ~Watchdog();

  // Watches the run until Unwatch, which waits for a check in progress.
  void Watch(WatchedRun run);
  void Unwatch();

  // The call is in progress during the lifetime of this object.
  class Bound {
   public:
    Bound(Watchdog& watchdog, BoundedCall call);
    ~Bound();
    Bound(const Bound&) = delete;

   private:
    Watchdog& watchdog_;
  };

 private:
  // What changes when this rank makes progress.
  struct Beat {
    int64_t step = -1;
    RunStage stage = RunStage::kStarting;
    int64_t call_ns = 0;  // when the last collective began or ended
    int64_t disk_waits = 0;
    bool operator==(const Beat&) const = default;
  };

  void Loop();
  // All of these: true: it was reported, and the process ends.
  bool Look(double elapsed_s);
  bool CallOverdue(double elapsed_s);
  // `facts` says why the wait is hopeless.
  bool Hangs(const CommProgress& comm, HangFacts& facts);
  double NowS() const { return static_cast<double>(o_.now_ns()) * 1e-9; }
  bool DiskStuck(const DiskWatch::State& disk);  // speaks of shorter waits, too
  bool ComputeStuck(const CommProgress& comm, const DiskWatch::State& disk, double elapsed_s);

  const WatchdogOptions o_;
  std::mutex mutex_;  // held during a look
  std::condition_variable ending_changed_;
  bool ending_ = false;
  std::optional<WatchedRun> run_;
  std::optional<BoundedCall> call_;
  double call_s_ = 0;   // for how long it has been under way
  int lost_looks_ = 0;  // in a row in which some rank was lost
  double answered_at_s_ = 0, asked_at_s_ = 0;
  double said_s_ = 0;  // of the wait for the disk, when it was last spoken of
  Beat beat_;
  double quiet_s_ = 0, longest_quiet_s_ = 0;  // of computing since the last beat; so far
  std::thread thread_;                        // last: it uses all of the above
};

}  // namespace blockstep
