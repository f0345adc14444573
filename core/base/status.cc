#include "core/base/status.h"

#include "absl/strings/cord.h"

namespace blockstep {

absl::Status Annotate(const absl::Status& status, std::string_view prefix) {
  if (status.ok()) return status;
  absl::Status longer(status.code(), Absl(Cat(prefix, ": ", Std(status.message()))));
  status.ForEachPayload(
      [&](absl::string_view name, const absl::Cord& value) { longer.SetPayload(name, value); });
  return longer;
}

}  // namespace blockstep
