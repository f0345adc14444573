// The report of a rank that gives up waiting: its own call, and the last call of every rank.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "core/step/run_stage.h"
#include "dist/communicator.h"
#include "launcher/train/watchdog/disk_watch.h"

namespace blockstep {

// The progress of a rank's training loop, for readers on other threads.
struct WatchedProgress {
  std::atomic<int64_t> step{0};
  std::atomic<RunStage> stage{RunStage::kStarting};
  DiskWatch disk;
};

// A rank's state as of its last heartbeat.
struct PeerState {
  int rank = 0;
  std::string host;
  int64_t step = 0;
  RunStage stage = RunStage::kUnknown;
  std::string op;        // "all-gather \"layer 3\""
  int64_t sequence = 0;  // of its last collective; 0: none yet
  double silent_s = 0;   // since it was last heard
  bool connected = true;
  std::string left;  // why it left the run; empty: it did not
};

struct HangFacts {
  int rank = 0;
  int ranks = 0;  // 1: reports do not name the rank
  int64_t step = 0;
  RunStage stage = RunStage::kStarting;
  CommProgress waiting;
  double waited_s = 0;
  double lost_after_s = 0;
  std::vector<PeerState> peers;  // empty: not known
  std::string peers_unknown;     // why
};

// True if the rank has left or counts as dead: no call should wait for it any longer.
bool IsLost(const PeerState& peer, double lost_after_s);

// One line: what training waits for on its disk. Of `where` only rank and step are used.
std::string DiskReport(const HangFacts& where, const DiskWatch::State& disk);

// One line: the last sign of progress in compute, `quiet_s` ago. Of `where` only rank, step, stage
// and the last call are used.
std::string ComputeReport(const HangFacts& where, double quiet_s);

// Several lines: first what hangs, then a line per rank.
std::string HangReport(const HangFacts& facts);

}  // namespace blockstep
