// What a rank is doing, for status output and hang reports: the only list of stages and their
// names. On the wire it is proto::Stage (launcher/config/step_proto.h).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace blockstep {

enum class RunStage : uint8_t {
  kUnknown,  // not reported yet
  kStarting,
  kStep,
  kEvaluate,
  kSave,
  kEnd,
  kDisk,  // in any other stage: training is waiting unusually long for this rank's disk
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
