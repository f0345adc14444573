// What a rank says when it gives up waiting: what it waits for, and what every other rank last did.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "launcher/train/watchdog/run_place.h"

namespace blockstep {

// A rank as the coordinator last heard it.
struct PeerState {
  int rank = 0;
  std::string host;
  int64_t step = 0;
  RunStage stage = RunStage::kUnknown;
  std::string op;        // "all-gather \"layer 3\""
  int64_t sequence = 0;  // of its last collective; 0: none yet
  double silent_s = 0;   // since it was last heard
  bool connected = true;
  std::string left;  // why it said good-bye; empty: it did not
};

struct HangFacts {
  int rank = 0;
  int64_t step = 0;
  RunStage stage = RunStage::kStarting;
  CommProgress waiting;
  double waited_s = 0;
  double lost_after_s = 0;
  std::vector<PeerState> peers;  // empty: not known
  std::string peers_unknown;     // why
};

// True if nobody can wait for this rank any more.
bool IsLost(const PeerState& peer, double lost_after_s);

// One line: what training waits for on its disk.
std::string DiskReport(int rank, int64_t step, const DiskWatch::State& disk);

// One line: where computing was when it stopped getting on, `quiet_s` ago. Of `where` only rank,
// place and the last call are used.
std::string ComputeReport(const HangFacts& where, double quiet_s);

// Several lines: first what hangs, then a line per rank.
std::string HangReport(const HangFacts& facts);

}  // namespace blockstep
