#include "launcher/cli/exit_codes.h"

namespace blockstep {

int ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kInvalidArgument:
      return kExitUsage;
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kUnimplemented:  // a format of another version
      return kExitBadInput;
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kPermissionDenied:
      return kExitResources;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kUnauthenticated:  // TLS that does not fit the coordinator's
      return kExitPeers;
    case absl::StatusCode::kOutOfRange:
      return kExitNonFinite;
    case absl::StatusCode::kUnavailable:
      return kExitStopped;
    default:
      return kExitFailure;
  }
}

}  // namespace blockstep
