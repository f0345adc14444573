#include "launcher/coordinator/stage_proto.h"

// A value on either side that has no partner on the other does not compile.
#pragma GCC diagnostic error "-Wswitch"

namespace blockstep {

proto::Stage ToProto(RunStage stage) {
  switch (stage) {
    case RunStage::kUnknown:
      return proto::UNKNOWN;
    case RunStage::kStarting:
      return proto::STARTING;
    case RunStage::kStep:
      return proto::STEP;
    case RunStage::kEvaluate:
      return proto::EVALUATE;
    case RunStage::kSave:
      return proto::SAVE;
    case RunStage::kEnd:
      return proto::END;
    case RunStage::kDisk:
      return proto::DISK;
  }
  return proto::UNKNOWN;
}

RunStage FromProto(proto::Stage stage) {
  switch (stage) {
    case proto::UNKNOWN:
      return RunStage::kUnknown;
    case proto::STARTING:
      return RunStage::kStarting;
    case proto::STEP:
      return RunStage::kStep;
    case proto::EVALUATE:
      return RunStage::kEvaluate;
    case proto::SAVE:
      return RunStage::kSave;
    case proto::END:
      return RunStage::kEnd;
    case proto::DISK:
      return RunStage::kDisk;
    // What protobuf adds so that the enum has 32 bits; no default, so that a new value is an error.
    case proto::Stage_INT_MIN_SENTINEL_DO_NOT_USE_:
    case proto::Stage_INT_MAX_SENTINEL_DO_NOT_USE_:
      break;
  }
  return RunStage::kUnknown;
}

}  // namespace blockstep
