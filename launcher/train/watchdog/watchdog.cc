#include "launcher/train/watchdog/watchdog.h"

#include <algorithm>
#include <chrono>

#include "core/base/status.h"

namespace blockstep {
namespace {

// Shares of the lease; in sum the report is there before it ends. Others are asked once a wait is
// longer than kAskAfter, then every kAskEvery, and given kAnswerWithin. A rank is lost once it was
// silent for kLostAfter in kLostLooks answers in a row, kAskAgain apart (one look may fall into the
// moment in which a coordinator comes back and has heard nobody yet; together they span a
// heartbeat), or no answer came for kUnreachable. This thread looks every kLookEvery at least.
constexpr double kAskAfter = 0.25, kAskEvery = 0.125, kAskAgain = 0.0625, kAnswerWithin = 0.2;
constexpr double kLookEvery = 0.025;
constexpr double kLostAfter = 0.6, kUnreachable = 0.5;
constexpr int kLostLooks = 3;
constexpr double kLongestPauseS = 1.0;
// While the launcher ends the run. Calls of a run in order end sooner, or their peers are there.
constexpr double kCallWhileEndingS = 0.05, kAnswerWhileEndingS = 0.3;
// Computing may take this many times longer than it ever did: another load, a machine that swaps.
constexpr double kSlowdown = 20;
// A look that comes later than this many pauses says that this process stood still (SIGSTOP, a
// laptop's lid), not that the run did.
constexpr double kLateLook = 10;

}  // namespace

Watchdog::Watchdog(WatchdogOptions options) : o_(std::move(options)), thread_([this] { Loop(); }) {}

Watchdog::~Watchdog() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
  }
  ending_changed_.notify_all();
  thread_.join();
}

void Watchdog::Watch(WatchedRun run) {
  std::lock_guard lock(mutex_);
  run_ = std::move(run);
  lost_looks_ = 0;
  answered_at_s_ = NowS();
  said_s_ = quiet_s_ = longest_quiet_s_ = 0;
  beat_ = {};
}

void Watchdog::Unwatch() {
  std::lock_guard lock(mutex_);
  run_.reset();
}

Watchdog::Bound::Bound(Watchdog& watchdog, BoundedCall call) : watchdog_(watchdog) {
  std::lock_guard lock(watchdog_.mutex_);
  watchdog_.call_ = std::move(call);
  watchdog_.call_s_ = 0;
}

Watchdog::Bound::~Bound() {
  std::lock_guard lock(watchdog_.mutex_);
  watchdog_.call_.reset();
}

void Watchdog::Loop() {
  const auto now = [this] { return o_.now_s ? o_.now_s() : NowS(); };
  std::unique_lock lock(mutex_);
  const std::chrono::duration<double> pause(std::min(o_.look_s, kLookEvery * o_.lease_s));
  double looked_at_s = now();
  while (!ending_changed_.wait_for(lock, pause, [&] { return ending_; })) {
    const double at_s = now();
    const double elapsed_s = std::min(at_s - looked_at_s, kLateLook * pause.count());
    looked_at_s = at_s;
    if (Look(elapsed_s)) return;
  }
}

bool Watchdog::Look(double elapsed_s) {
  if (CallOverdue(elapsed_s)) return true;
  if (!run_.has_value()) return false;
  const WatchedProgress& training = *run_->training;
  const CommProgress comm = run_->progress();
  DiskWatch::State disk = training.disk.Look();
  if (comm.running)
    disk = {.waits = disk.waits};  // waits for other ranks, whatever it does that for
  const bool slow = disk.stuck_s > o_.disk_say_s;
  run_->tell(training.step, slow ? RunStage::kDisk : training.stage.load(), comm);
  if (DiskStuck(disk)) {
    o_.on_disk_stuck(DiskReport({.rank = o_.rank, .ranks = o_.ranks, .step = training.step}, disk));
    return true;
  }
  if (ComputeStuck(comm, disk, elapsed_s)) {
    o_.on_compute_stuck(ComputeReport({.rank = o_.rank,
                                       .ranks = o_.ranks,
                                       .step = training.step,
                                       .stage = training.stage,
                                       .waiting = comm},
                                      quiet_s_));
    return true;
  }
  HangFacts facts;
  if (!Hangs(comm, facts)) return false;
  o_.on_hang(HangReport(facts));
  return true;
}

bool Watchdog::CallOverdue(double elapsed_s) {
  if (!call_.has_value()) return false;
  call_s_ += elapsed_s;
  if (call_s_ <= call_->limit_s) return false;
  const std::string rank = o_.ranks == 1 ? "" : Cat("rank ", o_.rank, ": ");
  call_->on_timeout(
      Cat(rank, call_->name, " timed out after ", call_->limit_s, " s: ", call_->hint));
  return true;
}

bool Watchdog::DiskStuck(const DiskWatch::State& disk) {
  if (disk.stuck_s > o_.disk_limit_s) return true;
  if (disk.stuck_s < said_s_) said_s_ = 0;  // another wait
  if (disk.stuck_s > std::max(o_.disk_say_s, 2 * said_s_)) {
    said_s_ = disk.stuck_s;
    o_.on_disk_wait(
        DiskReport({.rank = o_.rank, .ranks = o_.ranks, .step = run_->training->step}, disk));
  }
  return false;
}

// Steps and evaluations only: starts and saves wait for disks and other ranks, which have their own
// bounds. The signs of progress are the coarsest that every run has: a pass over data begins or
// ends, or a collective does.
bool Watchdog::ComputeStuck(const CommProgress& comm, const DiskWatch::State& disk,
                            double elapsed_s) {
  const RunStage stage = run_->training->stage;
  const Beat beat{.step = run_->training->step,
                  .stage = stage,
                  .call_ns = comm.since_ns,
                  .disk_waits = disk.waits};
  const bool computes = (stage == RunStage::kStep || stage == RunStage::kEvaluate) &&
                        !comm.running && disk.waits_for.empty();
  if (beat != beat_ || !computes) {
    longest_quiet_s_ = std::max(longest_quiet_s_, quiet_s_);
    quiet_s_ = 0;
    beat_ = beat;
    return false;
  }
  quiet_s_ += elapsed_s;
  return quiet_s_ > std::max(o_.compute_limit_s, kSlowdown * longest_quiet_s_);
}

bool Watchdog::Hangs(const CommProgress& comm, HangFacts& facts) {
  const double now = NowS(), waited = now - static_cast<double>(comm.since_ns) * 1e-9;
  const bool ending = o_.ending && o_.ending() && waited > kCallWhileEndingS;
  if (!comm.running || (waited < kAskAfter * o_.lease_s && !ending)) {
    lost_looks_ = 0;
    answered_at_s_ = now;
    return false;
  }
  const double pause = (lost_looks_ > 0 ? kAskAgain : kAskEvery) * o_.lease_s;
  if (!ending && now - asked_at_s_ < std::min(kLongestPauseS, pause)) return false;
  const absl::StatusOr<std::vector<PeerState>> peers =
      run_->peers(ending ? kAnswerWhileEndingS : kAnswerWithin * o_.lease_s);
  asked_at_s_ = NowS();
  facts = {.rank = o_.rank,
           .step = run_->training->step,
           .stage = run_->training->stage,
           .waiting = comm,
           .waited_s = asked_at_s_ - static_cast<double>(comm.since_ns) * 1e-9,
           .lost_after_s = kLostAfter * o_.lease_s};
  bool hopeless = facts.waited_s > o_.limit_s;
  if (peers.ok()) {
    answered_at_s_ = asked_at_s_;
    facts.peers = *peers;
    // When the launcher ends the run because a rank said good-bye, that rank has told why.
    const auto speaks = [&](const PeerState& p) { return ending && !p.left.empty(); };
    const bool lost = std::any_of(facts.peers.begin(), facts.peers.end(), [&](const PeerState& p) {
      return p.rank != o_.rank && IsLost(p, facts.lost_after_s) && !speaks(p);
    });
    lost_looks_ = lost ? lost_looks_ + 1 : 0;
    hopeless |= lost_looks_ >= kLostLooks;
    hopeless |=
        ending && std::any_of(facts.peers.begin(), facts.peers.end(),
                              [&](const PeerState& p) { return !p.connected && !speaks(p); });
  } else {
    lost_looks_ = 0;
    facts.peers_unknown = std::string(Std(peers.status().message()));
    hopeless |= asked_at_s_ - answered_at_s_ > kUnreachable * o_.lease_s + o_.patience_s || ending;
  }
  // The call may have ended while others were asked.
  const CommProgress again = run_->progress();
  return hopeless && again.running && again.since_ns == comm.since_ns;
}

}  // namespace blockstep
