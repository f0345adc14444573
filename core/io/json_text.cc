#include "core/io/json_text.h"

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/base/shown.h"
#include "core/base/status.h"

namespace blockstep {
namespace {

using nlohmann::json;

// Before anything is parsed: values are copied, printed and compared by functions that call
// themselves.
absl::Status CheckDepth(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      i += c == '\\';
      quoted = c != '"';
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kJsonDepth) {
        return InvalidArgument("expected at most ", kJsonDepth,
                               " levels of nesting, got more at byte ", i);
      }
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return absl::OkStatus();
}

// Sees the keys of each object as they come.
class Keys {
 public:
  bool operator()(int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) open_.emplace_back();
    if (event == json::parse_event_t::object_end) open_.pop_back();
    if (event != json::parse_event_t::key) return true;
    const auto& key = parsed.get_ref<const std::string&>();
    if (!open_.back().insert(key).second && !twice_.has_value()) twice_ = key;
    return true;
  }
  const std::optional<std::string>& twice() const { return twice_; }

 private:
  std::vector<std::set<std::string>> open_;
  std::optional<std::string> twice_;
};

}  // namespace

absl::StatusOr<json> ParseJson(std::string_view text) {
  RETURN_IF_ERROR(CheckDepth(text));
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos) {
    // The parser would take it for the end, whatever comes after it.
    return InvalidArgument("expected JSON, got a zero byte at byte ", zero + 1);
  }
  Keys keys;
  try {
    json value = json::parse(text, std::ref(keys));
    if (keys.twice().has_value()) {
      return InvalidArgument("expected each key once, got \"", Shown(*keys.twice()), "\" twice");
    }
    return value;
  } catch (const json::parse_error& error) {
    return InvalidArgument("expected JSON, got an error at byte ", error.byte);
  } catch (const json::exception&) {  // a number beyond double
    return InvalidArgument("expected JSON, got a number out of range");
  }
}

}  // namespace blockstep
