// Reads protobuf text format with errors for people: every one of them at once, with file, line,
// column, field, what was expected, what it got and the nearest name. (TextFormat::Parser stops at
// the first unknown field.) What is no configuration at all, nested without end or wrong all over,
// is not read to its end. Subset: scalars, enums, strings, messages in braces, lists in brackets.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "google/protobuf/message.h"
#include "launcher/config/config_error.h"

namespace blockstep {

// Where each field was given, by dotted path. A repeated message has its number in it,
// "policy.phase[1].steps", and also its own key, "policy.phase[1]".
using FieldLocations = std::map<std::string, std::string>;

// Merges `text` into `message`. A field that appears twice (and is not repeated) is an error.
void ReadTextproto(std::string_view text, std::string_view file, google::protobuf::Message* message,
                   FieldLocations* locations, std::vector<ConfigError>* errors);

// "a.b=value" over what is there, one after another: the last one counts. A repeated field takes a
// comma-separated list; the first one replaces what was there, those after it add to it.
void ApplyOverrides(const std::vector<std::string>& assignments, google::protobuf::Message* message,
                    FieldLocations* locations, std::vector<ConfigError>* errors);

}  // namespace blockstep
