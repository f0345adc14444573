#include "launcher/config/train_config.h"

#include <fstream>
#include <sstream>

#include "core/base/status.h"
#include "launcher/config/textproto_reader.h"
#include "launcher/config/train_config_proto.h"
#include "launcher/config/validate.h"

namespace blockstep {
namespace {

void NotePlaces(const FieldPlaces& places, std::vector<NamedPhase>& script) {
  const auto place = [&](const std::string& field) {
    const auto found = places.find(field);
    return found == places.end() ? std::string() : found->second;
  };
  for (size_t p = 0; p < script.size(); ++p) {
    const std::string phase = Cat("policy.phase[", p, "]");
    script[p].where = place(phase);
    for (size_t e = 0; e < script[p].entries.size(); ++e) {
      script[p].entries[e].where = place(Cat(phase, ".entry[", e, "]"));
    }
  }
}

}  // namespace

absl::StatusOr<TrainConfig> ParseTrainConfig(std::string_view text, std::string_view where,
                                             const std::vector<std::string>& overrides) {
  proto::TrainConfig wire;
  FieldPlaces places;
  std::vector<ConfigError> errors;
  ReadTextproto(text, where, &wire, &places, &errors);
  ApplyOverrides(overrides, &wire, &places, &errors);
  TrainConfig config = FromProto(wire);
  NotePlaces(places, config.script);
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
    return NotFound("configuration ", file, ": cannot be read; expected a text file");
  }
  return ParseTrainConfig(text.str(), file, overrides);
}

}  // namespace blockstep
