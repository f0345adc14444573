// What a rank is doing, for whoever watches the run: the one list of stages and of their names. On
// the wire it is proto::Stage (launcher/config/step_proto.h).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace blockstep {

enum class RunStage : uint8_t {
  kUnknown,  // of a rank that has not said it yet
  kStarting,
  kStep,
  kEvaluate,
  kSave,
  kEnd,
  kDisk,  // in any of the others, and training waits for this rank's disk longer than is usual
};

inline constexpr std::array kRunStages = {RunStage::kUnknown,  RunStage::kStarting, RunStage::kStep,
                                          RunStage::kEvaluate, RunStage::kSave,     RunStage::kEnd,
                                          RunStage::kDisk};

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wswitch"
// As status and hang reports show it. No default: a stage without a name does not compile.
constexpr std::string_view RunStageName(RunStage stage) {
  switch (stage) {
    case RunStage::kUnknown:
      return "unknown";
    case RunStage::kStarting:
      return "starting";
    case RunStage::kStep:
      return "step";
    case RunStage::kEvaluate:
      return "evaluation";
    case RunStage::kSave:
      return "save";
    case RunStage::kEnd:
      return "end";
    case RunStage::kDisk:
      return "waiting for its disk";
  }
  return {};
}
#pragma GCC diagnostic pop

}  // namespace blockstep
