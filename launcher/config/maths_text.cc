// Canonical texts of a configuration, from the annotations of proto/config.proto.
#include <functional>
#include <iomanip>
#include <sstream>

#include "core/base/sha256.h"
#include "google/protobuf/text_format.h"
#include "launcher/config/model_text.h"
#include "launcher/config/train_config_proto.h"

namespace blockstep {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::TextFormat;

void Walk(const Descriptor* type, const std::string& prefix, std::vector<FieldInfo>* fields) {
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor* field = type->field(i);
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      Walk(field->message_type(), prefix + field->name() + ".", fields);
    } else {
      fields->push_back(
          {prefix + field->name(), field, field->options().GetExtension(proto::kind)});
    }
  }
}

using Choice = std::function<bool(const FieldDescriptor* field)>;

void Append(const Message& message, const std::string& prefix, const Choice& chosen,
            std::string* text) {
  const auto* r = message.GetReflection();
  const Descriptor* type = message.GetDescriptor();
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor* field = type->field(i);
    const int count = field->is_repeated() ? r->FieldSize(message, field) : 1;
    for (int j = 0; j < count; ++j) {
      const std::string path =
          prefix + field->name() + (field->is_repeated() ? "[" + std::to_string(j) + "]" : "");
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        Append(field->is_repeated() ? r->GetRepeatedMessage(message, field, j)
                                    : r->GetMessage(message, field),
               path + ".", chosen, text);
      } else if (chosen(field)) {
        // Doubles print with the digits that give the same value back.
        std::string value;
        TextFormat::PrintFieldValueToString(message, field, field->is_repeated() ? j : -1, &value);
        *text += path + ": " + value + "\n";
      }
    }
  }
}

}  // namespace

std::vector<FieldInfo> AllFields(const Descriptor* type) {
  std::vector<FieldInfo> fields;
  Walk(type, "", &fields);
  return fields;
}

std::string MathsTextOf(const Message& message) {
  std::string text;
  Append(
      message, "",
      [](const FieldDescriptor* field) {
        return field->options().GetExtension(proto::kind) == proto::MATHS;
      },
      &text);
  return text;
}

std::string MathsText(const TrainConfig& config) { return MathsTextOf(ToProto(config)); }

std::string SharedText(const TrainConfig& config) {
  std::string text;
  Append(
      ToProto(config), "",
      [](const FieldDescriptor* field) {
        return field->options().GetExtension(proto::kind) != proto::SOURCE &&
               !field->options().GetExtension(proto::per_rank);
      },
      &text);
  return text;
}

std::string HashOfText(std::string_view text) {
  std::ostringstream hex;
  hex << std::hex << std::setw(16) << std::setfill('0') << Hash64(text);
  return hex.str();
}

std::string ConfigHash(const TrainConfig& config, const LlamaConfig& model) {
  return HashOfText(ModelText(model) + MathsText(config));
}

std::string PrintTrainConfig(const TrainConfig& config) {
  std::string text;
  TextFormat::PrintToString(ToProto(config), &text);
  return text;
}

}  // namespace blockstep
