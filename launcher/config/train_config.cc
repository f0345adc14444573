#include "launcher/config/train_config.h"

#include <algorithm>

#include "core/base/status.h"
#include "core/io/file_ops.h"
#include "launcher/config/textproto_reader.h"
#include "launcher/config/train_config_internal.h"
#include "model/llama_tensors.h"

namespace blockstep {
namespace {

void NoteLocations(const FieldLocations& locations, std::vector<NamedPhase>& script) {
  const auto location = [&](const std::string& field) {
    const auto found = locations.find(field);
    return found == locations.end() ? std::string() : found->second;
  };
  for (size_t p = 0; p < script.size(); ++p) {
    const std::string phase = Cat("policy.phase[", p, "]");
    script[p].where = location(phase);
    for (size_t e = 0; e < script[p].entries.size(); ++e) {
      script[p].entries[e].where = location(Cat(phase, ".entry[", e, "]"));
    }
  }
}

}  // namespace

absl::StatusOr<TrainConfig> ParseTrainConfig(std::string_view text, std::string_view where,
                                             const std::vector<std::string>& overrides) {
  proto::TrainConfig wire;
  FieldLocations locations;
  std::vector<ConfigError> errors;
  ReadTextproto(text, where, &wire, &locations, &errors);
  ApplyOverrides(overrides, &wire, &locations, &errors);
  TrainConfig config = FromProto(wire);
  NoteLocations(locations, config.script);
  Validate(locations, where, &config, &errors);
  if (errors.empty()) return config;
  // Whoever has to fix a script should not learn of its second half only after the first one.
  if (!config.script.empty()) {
    if (const absl::StatusOr<LlamaConfig> model = ModelOf(config); model.ok()) {
      for (ConfigError& e : ScriptErrors(config, LlamaTensors(*model))) errors.push_back(e);
    }
  }
  return ErrorOf("configuration", errors);
}

absl::StatusOr<TrainConfig> LoadTrainConfig(const std::string& file,
                                            const std::vector<std::string>& overrides) {
  if (file.empty()) return ParseTrainConfig("", "", overrides);
  constexpr int64_t kMostBytes = int64_t{64} << 20;  // a script of a million entries
  const absl::StatusOr<std::string> text = ReadSmall(file, kMostBytes);
  if (!text.ok()) return Annotate(text.status(), "configuration");
  return ParseTrainConfig(*text, file, overrides);
}

absl::StatusOr<LlamaConfig> ModelOf(const TrainConfig& config) {
  const TrainConfig::Model& model = config.model;
  if (!model.path.empty()) return LoadLlamaConfig(model.path);
  if (!model.preset.empty()) return LlamaPreset(model.preset, model.vocab);
  return ReadLlamaConfig(model.config);
}

absl::Status ErrorOf(std::string_view what, const std::vector<ConfigError>& errors) {
  constexpr size_t kShown = 100;
  std::string all = Cat(what, ": ", errors.size(), errors.size() == 1 ? " error" : " errors");
  for (size_t i = 0; i < std::min(errors.size(), kShown); ++i) {
    all += Cat("\n", errors[i].where, errors[i].where.empty() ? "" : ": ", errors[i].text);
  }
  if (errors.size() > kShown) all += Cat("\nand ", errors.size() - kShown, " more");
  return absl::InvalidArgumentError(all);
}

}  // namespace blockstep
