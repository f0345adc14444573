#include "launcher/train/watchdog/hang_report.h"

#include <cstdio>

#include "core/base/str.h"

namespace blockstep {
namespace {

std::string Seconds(double s) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s", s);
  return text;
}

// "rank 1: ", or "" in a run of one rank.
std::string RankPrefix(const HangFacts& where) {
  return where.ranks == 1 ? "" : Cat("rank ", where.rank, ": ");
}

// "step 118", "step 118, save".
std::string StepText(int64_t step, RunStage stage) {
  return Cat("step ", step, stage == RunStage::kStep ? "" : Cat(", ", RunStageName(stage)));
}

std::string LineOf(const PeerState& peer, const HangFacts& facts) {
  std::string line = Cat("  rank ", peer.rank, peer.host.empty() ? "" : Cat(" on ", peer.host),
                         ": ", StepText(peer.step, peer.stage));
  line += peer.sequence > 0 ? Cat(", last call ", peer.op, " (call ", peer.sequence, ")")
                            : std::string(", no call yet");
  if (!peer.left.empty()) return line + Cat("; LEFT: ", peer.left);
  if (!peer.connected) line += "; its connection is CLOSED";
  if (IsLost(peer, facts.lost_after_s))
    return line + Cat("; LOST: silent for ", Seconds(peer.silent_s));
  if (peer.rank != facts.rank && peer.sequence < facts.waiting.sequence) line += "; BEHIND";
  return line;
}

}  // namespace

bool IsLost(const PeerState& peer, double lost_after_s) {
  return !peer.left.empty() || peer.silent_s > lost_after_s;
}

std::string DiskReport(const HangFacts& where, const DiskWatch::State& disk) {
  std::string text = Cat(RankPrefix(where), "step ", where.step, ": training has waited ",
                         Seconds(disk.waited_s), " for ", disk.waits_for);
  if (!disk.operation.empty()) {
    text += Cat(": ", disk.operation, " (for ", Seconds(disk.operation_s), ")");
  }
  return text;
}

std::string ComputeReport(const HangFacts& where, double quiet_s) {
  std::string text = Cat(RankPrefix(where), StepText(where.step, where.stage),
                         ": no progress in compute for ", Seconds(quiet_s));
  if (where.waiting.sequence > 0) {
    text += Cat("; last call ", where.waiting.op, " \"", where.waiting.what, "\" (call ",
                where.waiting.sequence, ")");
  }
  return text;
}

std::string HangReport(const HangFacts& facts) {
  std::string text = Cat(RankPrefix(facts), StepText(facts.step, facts.stage), ": ",
                         facts.waiting.op, " \"", facts.waiting.what, "\" (call ",
                         facts.waiting.sequence, ") has waited ", Seconds(facts.waited_s), "\n");
  for (const PeerState& peer : facts.peers) text += LineOf(peer, facts) + "\n";
  if (facts.peers.empty()) {
    text += Cat("  last calls of the other ranks unknown: ", facts.peers_unknown, "\n");
  }
  return text;
}

}  // namespace blockstep
