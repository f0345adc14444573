// Where a rank's training loop is, for whoever watches it from another thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

#include "launcher/train/watchdog/disk_watch.h"

namespace blockstep {

// kDisk: anywhere, and it waits for its disk for longer than is usual.
enum class RunPhase : uint8_t { kStarting, kStep, kEvaluate, kSave, kEnd, kDisk };
inline constexpr std::string_view kRunPhaseNames[] = {
    "starting", "step", "evaluation", "save", "end", "waiting for its disk at"};

struct RunPlace {
  std::atomic<int64_t> step{0};
  std::atomic<RunPhase> phase{RunPhase::kStarting};
  DiskWatch disk;
};

}  // namespace blockstep
