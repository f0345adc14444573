#include "core/base/error_facts.h"

#include <string>

#include "absl/strings/cord.h"
#include "core/base/status.h"

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

absl::Status OnRank(const absl::Status& status, int rank) {
  if (status.ok() || FactsOf(status).rank >= 0) return status;
  return WithFacts(Annotate(status, Cat("rank ", rank)), {.rank = rank});
}

}  // namespace blockstep
