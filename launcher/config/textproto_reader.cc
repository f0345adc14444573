#include "launcher/config/textproto_reader.h"

#include <cctype>
#include <cstdio>
#include <set>
#include <string_view>

#include "core/base/shown.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "launcher/config/field_value.h"

namespace blockstep {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::io::Tokenizer;

std::string_view Separator(std::string_view path) { return path.empty() ? "" : "."; }

class Reader : google::protobuf::io::ErrorCollector {
 public:
  Reader(std::string_view text, std::string_view file, FieldLocations* locations,
         std::vector<ConfigError>* errors)
      : file_(file),
        locations_(locations),
        errors_(errors),
        text_(text),
        input_(text.data(), static_cast<int>(text.size())),
        tokens_(&input_, this) {
    tokens_.set_comment_style(Tokenizer::SH_COMMENT_STYLE);
    tokens_.set_allow_f_after_float(true);
    tokens_.Next();
  }

  void Read(Message* message) {
    while (true) {
      Fields(message, "", "");
      if (AtEnd()) return;
      Complain("", Cat("expected a field name, got ", Current()));
      tokens_.Next();
    }
  }

 private:
  bool AtEnd() { return stopped_ || tokens_.current().type == Tokenizer::TYPE_END; }
  bool Looking(std::string_view text) { return tokens_.current().text == text; }
  bool Take(std::string_view text) {
    if (!Looking(text)) return false;
    tokens_.Next();
    return true;
  }
  std::string Current() { return AtEnd() ? "the end of the file" : Shown(tokens_.current().text); }
  std::string Location() {
    return Cat(file_, ":", tokens_.current().line + 1, ":", tokens_.current().column + 1);
  }
  void Complain(std::string_view path, std::string text) {
    Add(Location(), path.empty() ? text : Cat(Shown(path), ": ", text));
  }
  bool Told(const std::string& location) const {
    return stopped_ || (!bad_line_.empty() && location.starts_with(bad_line_));
  }
  // Stops early on a file that is not a configuration.
  void Add(const std::string& location, std::string text) {
    if (Told(location)) return;
    errors_->push_back({location, std::move(text)});
    if (errors_->size() >= kMostErrors) Stop(location);
  }
  void Stop(const std::string& location) {
    errors_->push_back({location, "too many errors; the rest is not read"});
    stopped_ = true;
  }
  void AddError(int line, google::protobuf::io::ColumnNumber column,
                const std::string& text) override {
    const std::string location = Cat(file_, ":", line + 1, ":", column + 1);
    if (Told(location)) {
      if (!stopped_ && ++more_bad_bytes_ == kMostErrors) Stop(location);
      return;
    }
    const unsigned char byte = ByteAt(line, column);
    if (byte < 0x80 && (byte >= ' ' || std::isspace(byte) != 0)) return Add(location, text);
    char hex[8];
    std::snprintf(hex, sizeof hex, "0x%02X", byte);
    Add(location, Cat("expected ASCII, got byte ", hex));
    bad_line_ = Cat(file_, ":", line + 1, ":");
  }
  // As the tokenizer counts columns: a tab goes to the next multiple of 8. A space beyond the text.
  unsigned char ByteAt(int line, int column) const {
    size_t at = 0;
    for (; line > 0; --line) {
      at = text_.find('\n', at);
      if (at == std::string_view::npos) return ' ';
      ++at;
    }
    for (int here = 0; at < text_.size() && here < column; ++at) {
      here += text_[at] == '\t' ? 8 - here % 8 : 1;
    }
    return at < text_.size() ? static_cast<unsigned char>(text_[at]) : ' ';
  }

  // Fields up to `close` (not taken). A null message: skip, its name was wrong.
  void Fields(Message* message, const std::string& path, std::string_view close) {
    std::set<std::string> seen;
    while (!AtEnd() && (close.empty() || !Looking(close))) {
      if (tokens_.current().type != Tokenizer::TYPE_IDENTIFIER) return;
      const std::string name = tokens_.current().text;
      const std::string full = Cat(path, Separator(path), name);
      const FieldDescriptor* field =
          message == nullptr ? nullptr : message->GetDescriptor()->FindFieldByName(name);
      if (message != nullptr && field == nullptr) {
        Complain(full, "unknown field" + NearestField(name, message->GetDescriptor()));
      } else if (field != nullptr && !field->is_repeated() && !seen.insert(name).second) {
        Complain(full, "given more than once");
      }
      if (field != nullptr) (*locations_)[full] = Location();
      tokens_.Next();
      Field(message, field, full);
      if (!Take(",")) Take(";");
    }
  }

  void Field(Message* message, const FieldDescriptor* field, const std::string& path) {
    const bool colon = Take(":");
    if (Looking("{")) {
      Braces(message, field, path);
    } else if (!colon) {
      Complain(path, Cat("expected ':' or '{', got ", Current()));
    } else if (Take("[")) {
      if (field != nullptr && !field->is_repeated())
        Complain(path, "expected one value, got a list");
      while (!AtEnd() && !Take("]")) {
        if (Looking("{")) {
          Braces(message, field, path);
        } else if (!Value(message, field, path)) {
          return;
        }
        if (!Looking("]") && !Take(",")) {
          Complain(path, Cat("expected ',' or ']', got ", Current()));
          return;
        }
      }
    } else {
      Value(message, field, path);
    }
  }

  void Braces(Message* message, const FieldDescriptor* field, const std::string& path) {
    if (depth_ == kDeepest) {
      Complain(path, Cat("expected at most ", kDeepest, " levels of '{', got more"));
      stopped_ = true;
      return;
    }
    ++depth_;
    BracesInside(message, field, path);
    --depth_;
  }

  void BracesInside(Message* message, const FieldDescriptor* field, const std::string& path) {
    const std::string opened = Location();
    std::string inside = path;
    Message* inner = nullptr;
    if (field != nullptr && field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
      Complain(path, "expected a value, got '{'");
    } else if (field != nullptr) {
      const auto* r = message->GetReflection();
      if (field->is_repeated()) {
        inside += Cat("[", r->FieldSize(*message, field), "]");
        (*locations_)[inside] = opened;
      }
      inner =
          field->is_repeated() ? r->AddMessage(message, field) : r->MutableMessage(message, field);
    }
    tokens_.Next();
    while (!Take("}")) {
      Fields(inner, inside, "}");
      if (AtEnd()) {
        Add(opened, Cat(Shown(inside), ": this '{' is not closed"));
        return;
      }
      if (Looking("}")) continue;
      Complain(inside, Cat("expected a field name or '}', got ", Current()));
      tokens_.Next();
    }
  }

  // False: nothing that could be a value stood here.
  bool Value(Message* message, const FieldDescriptor* field, const std::string& path) {
    const std::string location = Location();
    std::string text;
    ValueForm form = ValueForm::kWord;
    const auto type = [&] { return tokens_.current().type; };
    if (type() == Tokenizer::TYPE_STRING) {
      form = ValueForm::kString;
      for (; type() == Tokenizer::TYPE_STRING; tokens_.Next()) {
        Tokenizer::ParseStringAppend(tokens_.current().text, &text);
      }
    } else {
      if (Take("-")) text = "-";
      if (type() == Tokenizer::TYPE_INTEGER || type() == Tokenizer::TYPE_FLOAT) {
        form = ValueForm::kNumber;
      } else if (type() != Tokenizer::TYPE_IDENTIFIER) {
        Complain(path, Cat("expected a value, got ", Current()));
        return false;
      }
      text += tokens_.current().text;
      tokens_.Next();
    }
    if (field == nullptr) return true;
    if (auto problem = SetField(message, field, text, form)) {
      Add(location, Cat(Shown(path), ": ", *problem));
    }
    return true;
  }

  // A configuration has four levels; each of an unknown field's costs a piece of the stack.
  static constexpr int kDeepest = 32;
  static constexpr size_t kMostErrors = 90;

  int depth_ = 0;
  bool stopped_ = false;
  std::string bad_line_;  // "file:line:" of a byte that no token has: one error says it all
  size_t more_bad_bytes_ = 0;
  std::string file_;
  FieldLocations* locations_;
  std::vector<ConfigError>* errors_;
  std::string_view text_;
  google::protobuf::io::ArrayInputStream input_;
  Tokenizer tokens_;
};

}  // namespace

void ReadTextproto(std::string_view text, std::string_view file, Message* message,
                   FieldLocations* locations, std::vector<ConfigError>* errors) {
  Reader(text, file, locations, errors).Read(message);
}

namespace {

// `seen`: repeated fields that were given before, in the same list of assignments.
void ApplyOne(std::string_view assignment, Message* message, std::set<std::string>* seen,
              FieldLocations* locations, std::vector<ConfigError>* errors) {
  const std::string where = Cat("--set ", Shown(assignment));
  const size_t equals = assignment.find('=');
  if (equals == std::string_view::npos) {
    errors->push_back({where, "expected field=value, got no '='"});
    return;
  }
  const std::string path(assignment.substr(0, equals));
  std::string_view value = assignment.substr(equals + 1);
  const FieldDescriptor* field = nullptr;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    const std::string name = path.substr(begin, end - begin);
    if (field != nullptr) {
      if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || field->is_repeated()) {
        errors->push_back({where, Cat(Shown(path.substr(0, begin - 1)), ": has no fields")});
        return;
      }
      message = message->GetReflection()->MutableMessage(message, field);
    }
    field = message->GetDescriptor()->FindFieldByName(name);
    if (field == nullptr) {
      errors->push_back({where, Cat(Shown(path.substr(0, end)), ": unknown field",
                                    NearestField(name, message->GetDescriptor()))});
      return;
    }
    begin = end + 1;
  }
  (*locations)[path] = where;
  if (field->is_repeated() && seen->insert(path).second) {
    message->GetReflection()->ClearField(message, field);
  }
  while (true) {
    const size_t comma = field->is_repeated() ? value.find(',') : std::string_view::npos;
    const std::string_view one = value.substr(0, comma);
    if (!(field->is_repeated() && one.empty())) {
      if (auto problem = SetField(message, field, one, ValueForm::kUnquoted)) {
        errors->push_back({where, Cat(path, ": ", *problem)});
      }
    }
    if (comma == std::string_view::npos) return;
    value.remove_prefix(comma + 1);
  }
}

}  // namespace

void ApplyOverrides(const std::vector<std::string>& assignments, Message* message,
                    FieldLocations* locations, std::vector<ConfigError>* errors) {
  std::set<std::string> seen;
  for (const std::string& one : assignments) ApplyOne(one, message, &seen, locations, errors);
}

}  // namespace blockstep
