#include "launcher/commands/verify/cases.h"

#include <algorithm>
#include <array>
#include <set>
#include <tuple>

#include "core/base/nearest.h"
#include "core/base/status.h"

namespace blockstep {
namespace {

using Values = std::array<std::string, 5>;
// Two axes and a value of each: what pairwise cases must cover.
using Pair = std::tuple<int, std::string, int, std::string>;

Values ValuesOf(const VerifyCase& c) {
  return {c.policy, c.ranks, c.placement, c.coordinator, c.transport};
}

std::vector<Pair> PairsOf(const VerifyCase& c) {
  const Values values = ValuesOf(c);
  std::vector<Pair> pairs;
  for (int a = 0; a < 5; ++a) {
    for (int b = a + 1; b < 5; ++b) pairs.push_back({a, values[a], b, values[b]});
  }
  return pairs;
}

absl::Status CheckOnce(const char* axis, const std::string& value,
                       const std::vector<std::string>& found) {
  if (std::count(found.begin(), found.end(), value) == 1) return absl::OkStatus();
  return InvalidArgument("--", axis, ": '", value, "' is given more than once");
}

absl::Status CheckNames(const char* axis, const std::vector<std::string>& found,
                        const std::vector<std::string>& known) {
  if (found.empty()) return InvalidArgument("--", axis, " is empty");
  for (const std::string& name : found) {
    RETURN_IF_ERROR(CheckOnce(axis, name, found));
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return InvalidArgument("--", axis, ": unknown value '", name, "'; expected one of ",
                             KnownNames(name, known));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Validate(const VerifyAxes& axes) {
  const VerifyAxes known;
  RETURN_IF_ERROR(CheckNames("policies", axes.policies, known.policies));
  std::vector<std::string> placements = known.placements;
  placements.insert(placements.end(), {"budget", "node"});
  RETURN_IF_ERROR(CheckNames("placements", axes.placements, placements));
  RETURN_IF_ERROR(CheckNames("coordinators", axes.coordinators, known.coordinators));
  RETURN_IF_ERROR(CheckNames("transports", axes.transports, known.transports));
  if (axes.ranks.empty()) return InvalidArgument("--ranks is empty");
  for (const std::string& n : axes.ranks) {
    RETURN_IF_ERROR(CheckOnce("ranks", n, axes.ranks));
    const bool digits =
        !n.empty() && n.size() < 5 && n[0] != '0' &&
        std::all_of(n.begin(), n.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!digits) return InvalidArgument("--ranks: expected a number > 0, got '", n, "'");
  }
  return absl::OkStatus();
}

std::vector<VerifyCase> AllCases(const VerifyAxes& axes) {
  std::vector<VerifyCase> cases;
  for (const std::string& policy : axes.policies) {
    for (const std::string& transport : axes.transports) {
      for (const std::string& coordinator : axes.coordinators) {
        for (const std::string& placement : axes.placements) {
          for (const std::string& ranks : axes.ranks) {
            cases.push_back({policy, ranks, placement, coordinator, transport});
          }
        }
      }
    }
  }
  return cases;
}

// Greedy: always the case that covers most pairs not yet covered, the earliest of equals.
std::vector<VerifyCase> PairwiseCases(const VerifyAxes& axes) {
  const std::vector<VerifyCase> all = AllCases(axes);
  std::set<Pair> open;
  for (const VerifyCase& c : all) {
    for (const Pair& pair : PairsOf(c)) open.insert(pair);
  }
  std::vector<VerifyCase> chosen;
  const auto take_best = [&](const std::string& policy) {
    int best_gain = -1;
    const VerifyCase* best = nullptr;
    for (const VerifyCase& c : all) {
      if (!policy.empty() && c.policy != policy) continue;
      if (std::find(chosen.begin(), chosen.end(), c) != chosen.end()) continue;
      const std::vector<Pair> pairs = PairsOf(c);
      const int gain = static_cast<int>(
          std::count_if(pairs.begin(), pairs.end(), [&](const Pair& p) { return open.count(p); }));
      if (gain > best_gain) best_gain = gain, best = &c;
    }
    if (best == nullptr) return;
    for (const Pair& pair : PairsOf(*best)) open.erase(pair);
    chosen.push_back(*best);
  };
  while (!open.empty()) take_best("");
  for (const std::string& policy : axes.policies) {
    while (std::count_if(chosen.begin(), chosen.end(),
                         [&](const VerifyCase& c) { return c.policy == policy; }) < 2 &&
           all.size() > axes.policies.size()) {
      take_best(policy);
    }
  }
  std::stable_sort(chosen.begin(), chosen.end(), [&](const VerifyCase& a, const VerifyCase& b) {
    const auto at = [&](const VerifyCase& c) {
      return std::find(axes.policies.begin(), axes.policies.end(), c.policy);
    };
    return at(a) < at(b);
  });
  return chosen;
}

}  // namespace blockstep
