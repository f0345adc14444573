// Where a rank's training loop is, for whoever watches it from another thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

namespace blockstep {

enum class RunPhase : uint8_t { kStarting, kStep, kEvaluate, kSave, kEnd };
inline constexpr std::string_view kRunPhaseNames[] = {"starting", "step", "evaluation", "save",
                                                      "end"};

struct RunPlace {
  std::atomic<int64_t> step{0};
  std::atomic<RunPhase> phase{RunPhase::kStarting};
};

}  // namespace blockstep
