// absl::Status with our two habits: early return macros, and messages built from parts.
// A message says what failed, where, "expected X, got Y" and, where ranks exist, on which.
#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/str.h"

namespace blockstep {

template <typename... Parts>
absl::Status InvalidArgument(const Parts&... parts) {
  return absl::InvalidArgumentError(Cat(parts...));
}
template <typename... Parts>
absl::Status NotFound(const Parts&... parts) {
  return absl::NotFoundError(Cat(parts...));
}
template <typename... Parts>
absl::Status FailedPrecondition(const Parts&... parts) {
  return absl::FailedPreconditionError(Cat(parts...));
}
template <typename... Parts>
absl::Status Unavailable(const Parts&... parts) {
  return absl::UnavailableError(Cat(parts...));
}
template <typename... Parts>
absl::Status ResourceExhausted(const Parts&... parts) {
  return absl::ResourceExhaustedError(Cat(parts...));
}
template <typename... Parts>
absl::Status DataLoss(const Parts&... parts) {
  return absl::DataLossError(Cat(parts...));
}
template <typename... Parts>
absl::Status DeadlineExceeded(const Parts&... parts) {
  return absl::DeadlineExceededError(Cat(parts...));
}
template <typename... Parts>
absl::Status Internal(const Parts&... parts) {
  return absl::InternalError(Cat(parts...));
}
// A format of another version than this build's.
template <typename... Parts>
absl::Status Unimplemented(const Parts&... parts) {
  return absl::UnimplementedError(Cat(parts...));
}
template <typename... Parts>
absl::Status Aborted(const Parts&... parts) {
  return absl::AbortedError(Cat(parts...));
}

// The same code and facts (core/base/error_facts.h), the message with `prefix` and ": " before it.
absl::Status Annotate(const absl::Status& status, std::string_view prefix);

}  // namespace blockstep

#define RETURN_IF_ERROR(expr)                      \
  do {                                             \
    absl::Status return_status = (expr);           \
    if (!return_status.ok()) return return_status; \
  } while (false)

#define BLOCKSTEP_CONCAT2(a, b) a##b
#define BLOCKSTEP_CONCAT(a, b) BLOCKSTEP_CONCAT2(a, b)
#define BLOCKSTEP_ASSIGN(tmp, lhs, expr) \
  auto tmp = (expr);                     \
  if (!tmp.ok()) return tmp.status();    \
  lhs = std::move(tmp).value()
#define ASSIGN_OR_RETURN(lhs, expr) \
  BLOCKSTEP_ASSIGN(BLOCKSTEP_CONCAT(assign_status_, __LINE__), lhs, expr)
