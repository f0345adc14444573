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

// The same code and facts, the message with `prefix` and ": " before it.
absl::Status Annotate(const absl::Status& status, std::string_view prefix);

// An error number of the system: whoever asks for the code learns whether a file is missing, a disk
// is full or a folder may not be written, whatever part of the program found out. `what`: ": " and
// the system's words for `error` come after it.
absl::Status ErrnoStatus(int error, std::string_view what);

// What an error carries besides its code and text: the rank where it happened and the exit code of
// the run. Both are payloads of the Status, so every layer in between passes them on unchanged;
// launcher/cli/exit_codes.h names the exit codes.
struct ErrorFacts {
  int rank = -1;       // -1: not set
  int exit_code = -1;  // -1: not set; the status code decides
};

ErrorFacts FactsOf(const absl::Status& status);

// `status` with those of `facts` that it does not have yet: the ones set nearest to the error win.
// OK stays OK.
absl::Status WithFacts(absl::Status status, const ErrorFacts& facts);

struct RankOf {
  int rank = 0;
  int ranks = 0;  // of the group; 0: unknown
};

// Marks the error as one of a rank: sets the fact, and prefixes the text with "rank 2: " unless the
// group has one rank only. An error that has a rank is returned unchanged.
absl::Status OnRank(const absl::Status& status, const RankOf& where);

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
