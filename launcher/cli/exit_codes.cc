#include "launcher/cli/exit_codes.h"

#include "core/base/status.h"

namespace blockstep {

absl::Status WithExitCode(absl::Status status, ExitCode code) {
  return WithFacts(std::move(status), {.exit_code = code});
}

ExitCode ExitCodeOf(const absl::Status& status) {
  const int set = FactsOf(status).exit_code;
  if (set >= 0) return static_cast<ExitCode>(set);
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kInvalidArgument:
      return kExitUsage;
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kOutOfRange:     // an id beyond the vocabulary
    case absl::StatusCode::kUnimplemented:  // a format of another version
      return kExitBadInput;
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kPermissionDenied:
      return kExitResources;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kUnauthenticated:  // TLS that does not fit the coordinator's
    case absl::StatusCode::kUnavailable:
      return kExitPeers;
    default:
      return kExitFailure;
  }
}

}  // namespace blockstep
