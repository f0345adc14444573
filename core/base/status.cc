#include "core/base/status.h"

#include <cerrno>
#include <cstring>
#include <string>

#include "absl/strings/cord.h"

namespace blockstep {
namespace {

constexpr char kRank[] = "blockstep/rank", kExitCode[] = "blockstep/exit-code";

int Read(const absl::Status& status, const char* name) {
  const auto payload = status.GetPayload(name);
  return payload.has_value() ? std::stoi(std::string(*payload)) : -1;
}

void Fill(absl::Status& status, const char* name, int value) {
  if (value < 0 || status.GetPayload(name).has_value()) return;
  status.SetPayload(name, absl::Cord(std::to_string(value)));
}

}  // namespace

ErrorFacts FactsOf(const absl::Status& status) {
  return {.rank = Read(status, kRank), .exit_code = Read(status, kExitCode)};
}

absl::Status WithFacts(absl::Status status, const ErrorFacts& facts) {
  if (status.ok()) return status;
  Fill(status, kRank, facts.rank);
  Fill(status, kExitCode, facts.exit_code);
  return status;
}

absl::Status OnRank(const absl::Status& status, const RankOf& where) {
  if (status.ok() || FactsOf(status).rank >= 0) return status;
  const ErrorFacts facts{.rank = where.rank};
  if (where.ranks == 1) return WithFacts(status, facts);
  return WithFacts(Annotate(status, Cat("rank ", where.rank)), facts);
}

absl::Status Annotate(const absl::Status& status, std::string_view prefix) {
  if (status.ok()) return status;
  absl::Status longer(status.code(), Cat(prefix, ": ", Std(status.message())));
  status.ForEachPayload(
      [&](absl::string_view name, const absl::Cord& value) { longer.SetPayload(name, value); });
  return longer;
}

absl::Status ErrnoStatus(int error, std::string_view what) {
  const std::string message = Cat(what, ": ", std::strerror(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case EEXIST:
      return absl::AlreadyExistsError(message);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EIO:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::InternalError(message);
  }
}

}  // namespace blockstep
