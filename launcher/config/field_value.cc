#include "launcher/config/field_value.h"

#include <charconv>
#include <cmath>
#include <vector>

#include "core/base/nearest.h"
#include "core/base/shown.h"

namespace blockstep {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::vector<std::string> ValueNames(const EnumDescriptor* type) {
  std::vector<std::string> names;
  for (int i = 0; i < type->value_count(); ++i) names.push_back(type->value(i)->name());
  return names;
}

// "a", "a or b", "one of a, b, c".
std::string Choice(const std::vector<std::string>& names) {
  if (names.size() == 2) return names[0] + " or " + names[1];
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return (names.size() > 2 ? "one of " : "") + text;
}

template <typename T>
bool ParseWhole(std::string_view text, T* value) {
  const auto result = std::from_chars(text.data(), text.data() + text.size(), *value);
  return result.ec == std::errc() && result.ptr == text.data() + text.size();
}

}  // namespace

std::string NearestField(std::string_view name, const Descriptor* type) {
  std::vector<std::string> names;
  for (int i = 0; i < type->field_count(); ++i) names.push_back(type->field(i)->name());
  return DidYouMean(name, names);
}

std::string NearestValue(std::string_view name, const EnumDescriptor* type) {
  return DidYouMean(name, ValueNames(type));
}

std::optional<std::string> SetField(Message* message, const FieldDescriptor* field,
                                    std::string_view text, ValueForm form) {
  const Reflection* r = message->GetReflection();
  const bool add = field->is_repeated();
  const auto wanted = [&](std::string_view what) {
    const std::string_view quote = form == ValueForm::kString ? "\"" : "";
    return Cat("expected ", what, ", got ", quote, Shown(text), quote);
  };
  const bool numeric = form == ValueForm::kNumber || form == ValueForm::kUnquoted;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING: {
      if (form != ValueForm::kString && form != ValueForm::kUnquoted) {
        return wanted("a string in quotes");
      }
      // System calls would take the part before it for the name of a file.
      if (text.find('\0') != std::string_view::npos) return wanted("no zero byte");
      std::string value(text);
      add ? r->AddString(message, field, std::move(value))
          : r->SetString(message, field, std::move(value));
      return std::nullopt;
    }
    case FieldDescriptor::CPPTYPE_BOOL: {
      if (form == ValueForm::kString || (text != "true" && text != "false")) {
        return wanted("true or false");
      }
      add ? r->AddBool(message, field, text == "true") : r->SetBool(message, field, text == "true");
      return std::nullopt;
    }
    case FieldDescriptor::CPPTYPE_INT64: {
      int64_t value = 0;
      if (!numeric || !ParseWhole(text, &value)) return wanted("a 64-bit integer");
      add ? r->AddInt64(message, field, value) : r->SetInt64(message, field, value);
      return std::nullopt;
    }
    case FieldDescriptor::CPPTYPE_UINT64: {
      uint64_t value = 0;
      if (!numeric || !ParseWhole(text, &value)) return wanted("a non-negative 64-bit integer");
      add ? r->AddUInt64(message, field, value) : r->SetUInt64(message, field, value);
      return std::nullopt;
    }
    case FieldDescriptor::CPPTYPE_DOUBLE: {
      double value = 0;
      if (!numeric || !ParseWhole(text, &value) || !std::isfinite(value)) {
        return wanted("a finite number");
      }
      add ? r->AddDouble(message, field, value) : r->SetDouble(message, field, value);
      return std::nullopt;
    }
    case FieldDescriptor::CPPTYPE_ENUM: {
      const auto* value = form == ValueForm::kString
                              ? nullptr
                              : field->enum_type()->FindValueByName(std::string(text));
      if (value == nullptr) {
        return wanted(Choice(ValueNames(field->enum_type()))) +
               NearestValue(text, field->enum_type());
      }
      add ? r->AddEnum(message, field, value) : r->SetEnum(message, field, value);
      return std::nullopt;
    }
    default:
      return wanted("fields in braces");
  }
}

}  // namespace blockstep
