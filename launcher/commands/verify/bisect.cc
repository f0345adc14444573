#include "launcher/commands/verify/bisect.h"

#include <sstream>

#include "core/base/status.h"

namespace blockstep {

absl::StatusOr<VerifyCase> CaseNamed(const std::string& name) {
  VerifyCase c;
  std::istringstream parts(name);
  for (std::string* part : {&c.policy, &c.ranks, &c.placement, &c.coordinator, &c.transport}) {
    std::getline(parts, *part, '-');
  }
  const absl::Status known =
      Validate(VerifyAxes{{c.policy}, {c.ranks}, {c.placement}, {c.coordinator}, {c.transport}});
  if (!known.ok() || NameOf(c) != name) {
    return InvalidArgument("--bisect: expected a case as full-2-sharded-embedded-mpi, got '", name,
                           "'");
  }
  return c;
}

absl::StatusOr<DigestComparison> Bisect(const VerifyCase& a, const VerifyCase& b,
                                        const VerifySetup& setup) {
  VerifySetup with = setup;
  with.digests = true;
  for (const VerifyCase* c : {&a, &b}) RETURN_IF_ERROR(RunCase(*c, with).status());
  return CompareDigests({NameOf(a), DigestsOf(a, setup)}, {NameOf(b), DigestsOf(b, setup)});
}

}  // namespace blockstep
