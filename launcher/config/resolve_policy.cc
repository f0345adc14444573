#include <algorithm>

#include "core/base/nearest.h"
#include "core/base/status.h"
#include "launcher/config/train_config.h"

namespace blockstep {
namespace {

struct Faults {
  void Add(const std::string& where, const std::string& field, std::string_view text) {
    lines += Cat("\n", where, where.empty() ? "" : ": ", field, ": ", text);
    ++count;
  }
  void Add(const std::string& where, const std::string& field, const absl::Status& status) {
    if (!status.ok()) Add(where, field, Std(status.message()));
  }
  absl::Status status() const {
    if (count == 0) return absl::OkStatus();
    return InvalidArgument("policy.phase does not fit the model: ", count,
                           count == 1 ? " error" : " errors", lines);
  }

  int count = 0;
  std::string lines;
};

std::string NoTensor(const std::string& name, const TensorTable& table) {
  std::vector<std::string> names;
  for (const TensorInfo& t : table.tensors) names.push_back(t.name);
  const std::string nearest = Nearest(name, names);
  return Cat("the model has no tensor ", name,
             nearest.empty() ? "" : Cat(", did you mean ", nearest, "?"));
}

bool Before(const ActiveEntry& a, const ActiveEntry& b) {
  return a.tensor != b.tensor ? a.tensor < b.tensor : a.rows.begin < b.rows.begin;
}

// Entries that are wrong by themselves are left out of the phase, so that what is said of others is
// not their doing.
ScriptedPhase Resolve(const NamedPhase& named, const std::string& field, const TensorTable& table,
                      Faults& faults) {
  ScriptedPhase phase;
  phase.steps = named.steps;
  std::vector<ActiveEntry>& entries = phase.set.entries;
  for (size_t e = 0; e < named.entries.size(); ++e) {
    const NamedRows& rows = named.entries[e];
    const std::string entry = Cat(field, ".entry[", e, "]");
    const int tensor = table.Find(rows.tensor);
    if (tensor < 0) {
      faults.Add(rows.where, entry, NoTensor(rows.tensor, table));
      continue;
    }
    const int64_t end = rows.rows.end == 0 ? table.tensors[tensor].rows : rows.rows.end;
    const ActiveEntry one{.tensor = tensor,
                          .rows = {rows.rows.begin, end},
                          .lr_scale = static_cast<float>(rows.lr_scale)};
    const absl::Status fits = Validate(ActiveSet{{one}}, table);
    faults.Add(rows.where, entry, fits);
    if (fits.ok()) entries.push_back(one);
  }
  std::sort(entries.begin(), entries.end(), Before);
  for (size_t e = 1; e < entries.size(); ++e) {
    faults.Add(named.where, field, Validate(ActiveSet{{entries[e - 1], entries[e]}}, table));
  }
  return phase;
}

}  // namespace

absl::StatusOr<PolicyConfig> ResolvePolicy(const TrainConfig& config, const TensorTable& table) {
  PolicyConfig policy = config.policy;
  policy.seed = config.train.seed;
  policy.total_steps = config.train.steps;
  policy.lag = config.coordinator.lag;
  Faults faults;
  for (size_t p = 0; p < config.script.size(); ++p) {
    policy.script.push_back(Resolve(config.script[p], Cat("policy.phase[", p, "]"), table, faults));
  }
  RETURN_IF_ERROR(faults.status());
  return policy;
}

}  // namespace blockstep
