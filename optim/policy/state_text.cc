#include "optim/policy/state_text.h"

#include <array>
#include <charconv>
#include <sstream>

#include "core/base/check.h"
#include "core/base/status.h"

namespace blockstep {
namespace {

constexpr std::string_view kHeader = "blockstep-policy-state 1 ";
constexpr std::string_view kEnd = "end\n";

template <typename T, typename... Format>
absl::StatusOr<std::vector<T>> Numbers(const std::string& key,
                                       const std::vector<std::string>& words, Format... format) {
  std::vector<T> values;
  for (const std::string& word : words) {
    T value{};
    const char* end = word.data() + word.size();
    const auto result = std::from_chars(word.data(), end, value, format...);
    if (result.ec != std::errc() || result.ptr != end) {
      return DataLoss("policy state: key ", key, ": \"", word, "\" is not a number");
    }
    values.push_back(value);
  }
  return values;
}

}  // namespace

StateWriter::StateWriter(std::string_view policy) : text_(Cat(kHeader, policy, "\n")) {}

void StateWriter::Ints(std::string_view key, const std::vector<int64_t>& values) {
  text_ += key;
  for (int64_t value : values) text_ += Cat(" ", value);
  text_ += "\n";
}

void StateWriter::Doubles(std::string_view key, const std::vector<double>& values) {
  text_ += key;
  for (double value : values) {
    std::array<char, 40> digits;
    const auto result =
        std::to_chars(digits.data(), digits.data() + digits.size(), value, std::chars_format::hex);
    CHECK(result.ec == std::errc());
    text_ += Cat(" ", std::string_view(digits.data(), result.ptr - digits.data()));
  }
  text_ += "\n";
}

std::string StateWriter::Finish() { return text_ + std::string(kEnd); }

absl::StatusOr<StateReader> StateReader::Parse(std::string_view text, std::string_view policy) {
  if (!text.starts_with(kHeader)) {
    return DataLoss("policy state: expected \"", kHeader, "\" at the beginning, got \"",
                    text.substr(0, 24), "\"");
  }
  if (!text.ends_with(std::string("\n") + std::string(kEnd))) {
    return DataLoss("policy state: truncated: no line \"end\"");
  }
  const std::string_view found = text.substr(kHeader.size(), text.find('\n') - kHeader.size());
  if (found != policy) {
    return InvalidArgument("policy state: expected policy \"", policy, "\", got \"", found, "\"");
  }
  StateReader reader;
  std::istringstream lines(std::string(text.substr(0, text.size() - kEnd.size())));
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string key, word;
    words >> key;
    std::vector<std::string> values;
    while (words >> word) values.push_back(word);
    if (key.empty() || !reader.lines_.emplace(key, std::move(values)).second) {
      return DataLoss("policy state: line \"", line, "\" has no key, or a repeated one");
    }
  }
  return reader;
}

absl::StatusOr<std::vector<std::string>> StateReader::Words(const std::string& key,
                                                            int64_t count) const {
  const auto at = lines_.find(key);
  if (at == lines_.end()) return DataLoss("policy state: key ", key, " is missing");
  if (count >= 0 && static_cast<int64_t>(at->second.size()) != count) {
    return DataLoss("policy state: key ", key, ": expected ", count, " values, got ",
                    at->second.size());
  }
  return at->second;
}

absl::StatusOr<std::vector<int64_t>> StateReader::Ints(const std::string& key,
                                                       int64_t count) const {
  ASSIGN_OR_RETURN(const std::vector<std::string> words, Words(key, count));
  return Numbers<int64_t>(key, words);
}

absl::StatusOr<std::vector<double>> StateReader::Doubles(const std::string& key,
                                                         int64_t count) const {
  ASSIGN_OR_RETURN(const std::vector<std::string> words, Words(key, count));
  return Numbers<double>(key, words, std::chars_format::hex);
}

absl::StatusOr<int64_t> StateReader::Int(const std::string& key, int64_t low, int64_t high) const {
  ASSIGN_OR_RETURN(const std::vector<int64_t> values, Ints(key, 1));
  if (values[0] < low || values[0] > high) {
    return DataLoss("policy state: key ", key, ": expected a value in [", low, ", ", high,
                    "], got ", values[0]);
  }
  return values[0];
}

}  // namespace blockstep
