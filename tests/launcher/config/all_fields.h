// Every field of a message, to hold all of them to something.
#pragma once

#include <string>
#include <vector>

#include "proto/config.pb.h"

namespace blockstep {

// "model.preset" of every field, messages walked through; repeated messages once.
struct FieldInfo {
  std::string path;
  const google::protobuf::FieldDescriptor* field;
  proto::FieldKind kind;
};

inline void Walk(const google::protobuf::Descriptor* type, const std::string& prefix,
                 std::vector<FieldInfo>* fields) {
  for (int i = 0; i < type->field_count(); ++i) {
    const google::protobuf::FieldDescriptor* field = type->field(i);
    if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) {
      Walk(field->message_type(), prefix + field->name() + ".", fields);
    } else {
      fields->push_back(
          {prefix + field->name(), field, field->options().GetExtension(proto::kind)});
    }
  }
}

inline std::vector<FieldInfo> AllFields(const google::protobuf::Descriptor* type) {
  std::vector<FieldInfo> fields;
  Walk(type, "", &fields);
  return fields;
}

}  // namespace blockstep
