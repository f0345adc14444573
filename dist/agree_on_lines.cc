#include "dist/agree_on_lines.h"

#include <algorithm>
#include <sstream>
#include <vector>

#include "core/base/error_facts.h"
#include "core/base/sha256.h"
#include "core/base/status.h"
#include "dist/group_status.h"

namespace blockstep {
namespace {

std::string Difference(const std::vector<std::string>& texts) {
  std::string others, first;
  for (size_t r = 1; r < texts.size(); ++r) {
    if (texts[r] == texts[0]) continue;
    others += Cat(others.empty() ? "" : ", ", r);
    if (!first.empty()) continue;
    std::istringstream here(texts[r]), wanted(texts[0]);
    std::string a, b;
    do {
      if (!std::getline(here, a)) a = "nothing";
      if (!std::getline(wanted, b)) b = "nothing";
    } while (a == b && (here || wanted));
    first = Cat("rank ", r, ": expected ", b, " (as on rank 0), got ", a);
  }
  return Cat(first, "; ranks that differ from rank 0: ", others);
}

}  // namespace

absl::Status AgreeOnLines(Communicator& group, const std::string& lines) {
  const uint64_t mine = Hash64(lines);
  std::vector<uint64_t> all(static_cast<size_t>(group.size()));
  RETURN_IF_ERROR(group.HostAllGather(&mine, sizeof mine, all.data(), "what ranks were given"));
  const auto other = std::find_if(all.begin(), all.end(), [&](uint64_t h) { return h != all[0]; });
  if (other == all.end()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<std::string> texts,
                   GatherText(&group, lines, "what ranks were given"));
  ASSIGN_OR_RETURN(
      const std::string difference,
      BroadcastText(&group, group.rank() == 0 ? Difference(texts) : "", 0, "how ranks differ"));
  // The text begins with that rank already.
  return WithFacts(FailedPrecondition(difference), {.rank = static_cast<int>(other - all.begin())});
}

}  // namespace blockstep
