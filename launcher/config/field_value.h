// One scalar of a message from its text, by descriptor.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "google/protobuf/message.h"

namespace blockstep {

// How the value was written: decides whether `text` may be a number or must be quoted.
enum class ValueForm { kWord, kNumber, kString, kUnquoted };  // kUnquoted: --set, any of them

// Sets (or adds, if repeated) `field`; otherwise says what was expected and what it got.
std::optional<std::string> SetField(google::protobuf::Message* message,
                                    const google::protobuf::FieldDescriptor* field,
                                    std::string_view text, ValueForm form);

// ", did you mean slots?" with the closest of the message's fields; empty if none is near.
std::string NearestField(std::string_view name, const google::protobuf::Descriptor* type);
std::string NearestValue(std::string_view name, const google::protobuf::EnumDescriptor* type);

}  // namespace blockstep
