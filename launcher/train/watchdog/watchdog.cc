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

void Watchdog::Loop() {
  std::unique_lock lock(mutex_);
  const std::chrono::duration<double> look(std::min(o_.look_s, kLookEvery * o_.lease_s));
  while (!ending_changed_.wait_for(lock, look, [&] { return ending_; })) {
    lock.unlock();
    const CommProgress comm = o_.progress();
    DiskWatch::State disk = o_.place->disk.Look();
    if (comm.running) disk = {};  // waits for other ranks, whatever it does that for
    const bool slow = disk.stuck_s > o_.disk_say_s;
    o_.tell(o_.place->step, slow ? RunStage::kDisk : o_.place->stage.load(), comm);
    if (DiskStuck(disk)) return o_.on_disk_stuck(DiskReport(o_.rank, o_.place->step, disk));
    HangFacts facts;
    if (Hangs(comm, facts)) return o_.on_hang(HangReport(facts));
    lock.lock();
  }
}

bool Watchdog::DiskStuck(const DiskWatch::State& disk) {
  if (disk.stuck_s > o_.disk_limit_s) return true;
  if (disk.stuck_s < said_s_) said_s_ = 0;  // another wait
  if (disk.stuck_s > std::max(o_.disk_say_s, 2 * said_s_)) {
    said_s_ = disk.stuck_s;
    o_.on_disk_wait(DiskReport(o_.rank, o_.place->step, disk));
  }
  return false;
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
      o_.peers(ending ? kAnswerWhileEndingS : kAnswerWithin * o_.lease_s);
  asked_at_s_ = NowS();
  facts = {.rank = o_.rank,
           .step = o_.place->step,
           .stage = o_.place->stage,
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
  const CommProgress again = o_.progress();
  return hopeless && again.running && again.sequence == comm.sequence;
}

}  // namespace blockstep
