#include <algorithm>

#include "core/base/nearest.h"
#include "core/base/shown.h"
#include "core/base/status.h"
#include "launcher/config/config_error.h"
#include "launcher/config/train_config.h"

namespace blockstep {
namespace {

using Faults = std::vector<ConfigError>;
// Of a script of another model every entry is one; the nearest name of each takes its time.
constexpr size_t kMostFaults = 100;

void Add(const std::string& where, const std::string& field, std::string_view text,
         Faults& faults) {
  faults.push_back({where, Cat(field, ": ", text)});
}
void Add(const std::string& where, const std::string& field, const absl::Status& status,
         Faults& faults) {
  if (!status.ok()) Add(where, field, Std(status.message()), faults);
}

std::string NoTensor(const std::string& name, const TensorTable& table) {
  std::vector<std::string> names;
  for (const TensorInfo& t : table.tensors) names.push_back(t.name);
  return Cat("the model has no tensor ", Shown(name), DidYouMean(name, names));
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
  for (size_t e = 0; e < named.entries.size() && faults.size() < kMostFaults; ++e) {
    const NamedRows& rows = named.entries[e];
    const std::string entry = Cat(field, ".entry[", e, "]");
    if (rows.tensor.empty()) continue;  // an error by itself, of Validate
    const int tensor = table.Find(rows.tensor);
    if (tensor < 0) {
      Add(rows.where, entry, NoTensor(rows.tensor, table), faults);
      continue;
    }
    const int64_t end = rows.rows.end == 0 ? table.tensors[tensor].rows : rows.rows.end;
    const ActiveEntry one{.tensor = tensor,
                          .rows = {rows.rows.begin, end},
                          .lr_scale = static_cast<float>(rows.lr_scale)};
    const absl::Status fits = Validate(ActiveSet{{one}}, table);
    Add(rows.where, entry, fits, faults);
    if (fits.ok()) entries.push_back(one);
  }
  std::sort(entries.begin(), entries.end(), Before);
  for (size_t e = 1; e < entries.size(); ++e) {
    Add(named.where, field, Validate(ActiveSet{{entries[e - 1], entries[e]}}, table), faults);
  }
  return phase;
}

std::vector<ScriptedPhase> ResolveScript(const TrainConfig& config, const TensorTable& table,
                                         Faults& faults) {
  std::vector<ScriptedPhase> script;
  for (size_t p = 0; p < config.script.size() && faults.size() < kMostFaults; ++p) {
    script.push_back(Resolve(config.script[p], Cat("policy.phase[", p, "]"), table, faults));
  }
  return script;
}

}  // namespace

std::vector<ConfigError> ScriptErrors(const TrainConfig& config, const TensorTable& table) {
  Faults faults;
  ResolveScript(config, table, faults);
  return faults;
}

absl::StatusOr<PolicyConfig> ResolvePolicy(const TrainConfig& config, const TensorTable& table) {
  PolicyConfig policy = config.policy;
  policy.seed = config.train.seed;
  policy.total_steps = config.train.steps;
  policy.lag = config.coordinator.lag;
  Faults faults;
  policy.script = ResolveScript(config, table, faults);
  if (!faults.empty()) return ErrorOf("policy.phase does not fit the model", faults);
  return policy;
}

}  // namespace blockstep
