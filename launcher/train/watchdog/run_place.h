// Where a rank's training loop is, for whoever watches it from another thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/step/run_stage.h"
#include "launcher/train/watchdog/disk_watch.h"

namespace blockstep {

struct RunPlace {
  std::atomic<int64_t> step{0};
  std::atomic<RunStage> stage{RunStage::kStarting};
  DiskWatch disk;
};

}  // namespace blockstep
