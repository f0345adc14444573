// When and how often a rank tries the coordinator again.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>

#include "absl/status/status.h"

namespace blockstep {

inline constexpr double kFirstPause = 0.05, kLongestPause = 1.0;  // between tries, seconds
inline constexpr double kStreamLife =
    600;  // a stream is reopened now and then: no call without deadline
inline constexpr double kForever = std::numeric_limits<double>::infinity();
inline constexpr double kStopPatience = 0.2;  // a directive may be on its way
inline constexpr int64_t kKeptSteps = 2;      // behind the step in hand

template <typename Duration = std::chrono::steady_clock::duration>
Duration Seconds(double seconds) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
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
