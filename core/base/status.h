// absl::Status with our habits: early return macros, messages built from parts, and facts for the
// program beside them.
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

// The same code, the message with `prefix` and ": " before it.
inline absl::Status Annotate(const absl::Status& status, std::string_view prefix) {
  if (status.ok()) return status;
  return absl::Status(status.code(), Cat(prefix, ": ", status.message()));
}

// An error number of the system: whoever asks for the code learns whether a file is missing, a disk
// is full or a folder may not be written, whatever part of the program found out. `what`: ": " and
// the system's words for `error` come after it.
absl::Status ErrnoStatus(int error, std::string_view what);

// What an error says besides its code and text, for the program: the rank it happened on and how
// the run ends with it. Kept as payloads of the Status, so that every layer in between passes it on
// as it is; launcher/cli/exit_codes.h gives the second number its names.
struct ErrorFacts {
  int rank = -1;       // -1: nobody said
  int exit_code = -1;  // -1: nobody said; the command's list decides by the status's code
};

ErrorFacts FactsOf(const absl::Status& status);

// `status` with those of `facts` that it does not have yet: whoever was nearest to the error knows
// best. OK stays OK.
absl::Status WithFacts(absl::Status status, const ErrorFacts& facts);

// The error as one of `rank`: "rank 2: " before its text, and the number. As it is where it is some
// rank's already.
absl::Status OnRank(const absl::Status& status, int rank);

// Annotate that keeps the facts.
absl::Status Prefixed(const absl::Status& status, std::string_view prefix);

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
