// The progress of a rank's training loop, for readers on other threads.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/step/run_stage.h"
#include "launcher/train/watchdog/disk_watch.h"

namespace blockstep {

struct WatchedProgress {
  std::atomic<int64_t> step{0};
  std::atomic<RunStage> stage{RunStage::kStarting};
  DiskWatch disk;
};

}  // namespace blockstep
