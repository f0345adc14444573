// Canonical texts of a configuration, from the annotations of proto/config.proto.
#include <filesystem>
#include <functional>
#include <iomanip>
#include <sstream>

#include "core/base/sha256.h"
#include "google/protobuf/text_format.h"
#include "launcher/config/model_text.h"
#include "launcher/config/train_config_internal.h"

namespace blockstep {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::TextFormat;

using Choice = std::function<bool(const FieldDescriptor* field)>;
using LeftOut = std::function<bool(const FieldDescriptor* field, const std::string& value)>;
const LeftOut kEvery = [](const FieldDescriptor*, const std::string&) { return false; };

void Append(const Message& message, const std::string& prefix, const Choice& chosen,
            const LeftOut& left_out, std::string* text) {
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
               path + ".", chosen, left_out, text);
      } else if (chosen(field)) {
        // Doubles print with the digits that give the same value back.
        std::string value;
        TextFormat::PrintFieldValueToString(message, field, field->is_repeated() ? j : -1, &value);
        if (!left_out(field, value)) *text += path + ": " + value + "\n";
      }
    }
  }
}

std::string Absolute(const std::string& path) {
  return path.empty() ? path : std::filesystem::absolute(path).lexically_normal().string();
}

void MakeAbsolute(Message* message) {
  const auto* r = message->GetReflection();
  const Descriptor* type = message->GetDescriptor();
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor* field = type->field(i);
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !field->is_repeated()) {
      MakeAbsolute(r->MutableMessage(message, field));
    } else if (field->options().GetExtension(proto::file_name) && !field->is_repeated()) {
      r->SetString(message, field, Absolute(r->GetString(*message, field)));
    } else if (field->options().GetExtension(proto::file_name)) {
      for (int j = 0; j < r->FieldSize(*message, field); ++j) {
        r->SetRepeatedString(message, field, j, Absolute(r->GetRepeatedString(*message, field, j)));
      }
    }
  }
}

}  // namespace

std::string MathsTextOf(const Message& message) {
  std::string text;
  Append(
      message, "",
      [](const FieldDescriptor* field) {
        return field->options().GetExtension(proto::kind) == proto::MATHS;
      },
      [](const FieldDescriptor* field, const std::string& value) {
        return field->options().HasExtension(proto::absent_means) &&
               field->options().GetExtension(proto::absent_means) == value;
      },
      &text);
  return text;
}

std::string MathsText(const TrainConfig& config) { return MathsTextOf(ToProto(config)); }

std::string UpgradeMathsText(const std::string& text, int version) {
  if (version >= kMathsVersion) return text;
  // Version 1 called the sampled digest of a file "sha256".
  std::istringstream lines(text);
  std::string now;
  for (std::string line; std::getline(lines, line);) {
    const size_t digest = line.find(", sha256 ");
    const bool input = line.starts_with("data.train[") || line.starts_with("model.weights: ");
    if (input && digest != std::string::npos) line.insert(digest + 2, "sampled ");
    now += line + "\n";
  }
  return now;
}

std::string SharedText(const TrainConfig& config) {
  std::string text;
  Append(
      ToProto(config), "",
      [](const FieldDescriptor* field) {
        return field->options().GetExtension(proto::kind) != proto::SOURCE &&
               !field->options().GetExtension(proto::per_rank);
      },
      kEvery, &text);
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

std::string RunConfigText(const TrainConfig& config) {
  proto::TrainConfig wire = ToProto(config);
  MakeAbsolute(&wire);
  std::string text;
  TextFormat::PrintToString(wire, &text);
  return text;
}

std::string PrintTrainConfig(const TrainConfig& config) {
  std::string text;
  TextFormat::PrintToString(ToProto(config), &text);
  return text;
}

}  // namespace blockstep
