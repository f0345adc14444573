#include "launcher/config/field_value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

#include "core/base/str.h"

namespace blockstep {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// Levenshtein distance.
size_t Distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t above = row[j + 1];
      row[j + 1] = std::min({above + 1, row[j] + 1, diagonal + (a[i] == b[j] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row.back();
}

std::string Nearest(std::string_view name, const std::vector<std::string>& candidates) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, name.size() / 2) + 1;
  for (const std::string& candidate : candidates) {
    const size_t distance = Distance(name, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best.empty() ? "" : Cat(", did you mean ", best, "?");
}

std::vector<std::string> ValueNames(const EnumDescriptor* type) {
  std::vector<std::string> names;
  for (int i = 0; i < type->value_count(); ++i) names.push_back(type->value(i)->name());
  return names;
}

std::string Join(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
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
  return Nearest(name, names);
}

std::string NearestValue(std::string_view name, const EnumDescriptor* type) {
  return Nearest(name, ValueNames(type));
}

std::optional<std::string> SetField(Message* message, const FieldDescriptor* field,
                                    std::string_view text, ValueForm form) {
  const Reflection* r = message->GetReflection();
  const bool add = field->is_repeated();
  const auto wanted = [&](std::string_view what) {
    const std::string_view quote = form == ValueForm::kString ? "\"" : "";
    return Cat("expected ", what, ", got ", quote, text, quote);
  };
  const bool numeric = form == ValueForm::kNumber || form == ValueForm::kUnquoted;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING: {
      if (form != ValueForm::kString && form != ValueForm::kUnquoted) {
        return wanted("a string in quotes");
      }
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
        return wanted(Join(ValueNames(field->enum_type()))) +
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
