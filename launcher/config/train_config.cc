#include "launcher/config/train_config.h"

#include <fstream>
#include <set>
#include <sstream>

#include "core/base/status.h"
#include "launcher/config/textproto_reader.h"
#include "launcher/config/train_config_proto.h"
#include "launcher/config/validate.h"

namespace blockstep {

absl::StatusOr<TrainConfig> ParseTrainConfig(std::string_view text, std::string_view where,
                                             const std::vector<std::string>& overrides) {
  proto::TrainConfig wire;
  FieldPlaces places;
  std::vector<ConfigError> errors;
  ReadTextproto(text, where, &wire, &places, &errors);
  ApplyOverrides(overrides, &wire, &places, &errors);
  TrainConfig config = FromProto(wire);
  Validate(places, where, &config, &errors);
  if (errors.empty()) return config;
  std::string all =
      Cat("configuration: ", errors.size(), errors.size() == 1 ? " error" : " errors");
  for (const ConfigError& error : errors) all += Cat("\n", error.where, ": ", error.text);
  return absl::InvalidArgumentError(all);
}

absl::StatusOr<TrainConfig> LoadTrainConfig(const std::string& file,
                                            const std::vector<std::string>& overrides) {
  if (file.empty()) return ParseTrainConfig("", "", overrides);
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  // A folder opens but does not read; an empty file reads nothing and is fine.
  if (!in || (in.peek() != std::ifstream::traits_type::eof() && !(text << in.rdbuf())) ||
      in.bad()) {
    return NotFound("configuration ", file, ": cannot be read, wanted a text file");
  }
  return ParseTrainConfig(text.str(), file, overrides);
}

absl::StatusOr<PolicyConfig> ResolvePolicy(const TrainConfig& config, const TensorTable& table) {
  PolicyConfig policy = config.policy;
  policy.seed = config.train.seed;
  policy.total_steps = config.train.steps;
  policy.lag = static_cast<int>(config.coordinator.lag);
  std::set<std::string> missing;
  for (const NamedPhase& named : config.script) {
    ScriptedPhase& phase = policy.script.emplace_back();
    phase.steps = named.steps;
    for (const NamedRows& rows : named.entries) {
      const int tensor = table.Find(rows.tensor);
      if (tensor < 0) {
        missing.insert(rows.tensor);
        continue;
      }
      const int64_t end = rows.rows.end == 0 ? table.tensors[tensor].rows : rows.rows.end;
      phase.set.entries.push_back({.tensor = tensor,
                                   .rows = {rows.rows.begin, end},
                                   .lr_scale = static_cast<float>(rows.lr_scale)});
    }
    std::sort(phase.set.entries.begin(), phase.set.entries.end(),
              [](const ActiveEntry& a, const ActiveEntry& b) {
                return a.tensor != b.tensor ? a.tensor < b.tensor : a.rows.begin < b.rows.begin;
              });
    if (missing.empty()) RETURN_IF_ERROR(Annotate(Validate(phase.set, table), "policy.phase"));
  }
  if (missing.empty()) return policy;
  std::string names;
  for (const std::string& name : missing) names += (names.empty() ? "" : ", ") + name;
  return InvalidArgument("policy.phase: the model has no tensor ", names);
}

}  // namespace blockstep
