// When and how often a rank tries the coordinator again.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>

#include "absl/status/status.h"
#include "grpc/support/time.h"

namespace blockstep {

inline constexpr double kFirstPause = 0.05, kLongestPause = 1.0;  // between tries, seconds
inline constexpr double kStreamLife =
    600;  // a stream is reopened now and then: no call without deadline
inline constexpr double kForever = std::numeric_limits<double>::infinity();
// So long must a first join meet nothing but TLS that does not fit: a coordinator that dies in the
// midst of a handshake looks alike for a moment.
inline constexpr double kTlsMistakeS = 2;
inline constexpr double kStopPatience = 0.2;  // a directive may be on its way
inline constexpr int64_t kKeptSteps = 2;      // behind the step in hand

inline std::chrono::steady_clock::duration Seconds(double seconds) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(seconds));
}

// So far from now, in gRPC's terms, on the clock that nobody sets.
inline gpr_timespec Deadline(double seconds) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_micros(static_cast<int64_t>(seconds * 1e6), GPR_TIMESPAN));
}

// Errors that time may heal; ABORTED heals by joining again.
inline bool MayHeal(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kResourceExhausted:  // its disk is full
    case absl::StatusCode::kAlreadyExists:      // the rank's dead process is not yet known dead
    case absl::StatusCode::kAborted:
      return true;
    default:
      return false;
  }
}

}  // namespace blockstep
