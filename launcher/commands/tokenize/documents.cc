#include "launcher/commands/tokenize/documents.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "core/base/status.h"
#include "launcher/tokenizer/protocol.h"

namespace blockstep {
namespace {

constexpr size_t kChunkBytes = 1 << 16;

absl::StatusOr<std::string> TextOfLine(const std::string& where, const std::string& line,
                                       const std::string& field) {
  nlohmann::json object;
  try {
    object = nlohmann::json::parse(line);
  } catch (const nlohmann::json::exception& error) {
    return DataLoss(where, ": not JSON: ", error.what());
  }
  if (!object.is_object()) {
    return DataLoss(where, ": expected a JSON object, got JSON ", object.type_name());
  }
  const auto found = object.find(field);
  if (found == object.end()) {
    std::string names;
    for (const auto& item : object.items()) names += (names.empty() ? "" : ", ") + item.key();
    return DataLoss(where, ": no field \"", field, "\" among: ", names, "; see --field");
  }
  if (!found->is_string()) {
    return DataLoss(where, ": field \"", field, "\": expected a string, got JSON ",
                    found->type_name());
  }
  return found->get<std::string>();
}

absl::Status TooLong(const std::string& where, const char* hint) {
  return DataLoss(where, ": document over ", kMaxTextBytes >> 20, " MiB", hint);
}

absl::Status EachLine(std::ifstream& file, const DocumentOptions& options,
                      const DocumentSink& sink) {
  std::string line;
  for (int64_t number = 1; std::getline(file, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string where = Cat(options.path, ":", number);
    ASSIGN_OR_RETURN(const std::string text, TextOfLine(where, line, options.field));
    if (text.size() > kMaxTextBytes) return TooLong(where, "");
    if (!text.empty()) RETURN_IF_ERROR(sink(where, text));
  }
  return absl::OkStatus();
}

absl::Status EachPart(std::ifstream& file, const DocumentOptions& options,
                      const DocumentSink& sink) {
  const std::string& separator = options.separator;
  std::string pending;
  std::vector<char> chunk(kChunkBytes);
  int64_t line = 1;
  const auto emit = [&](std::string_view text) -> absl::Status {
    const std::string where = Cat(options.path, ":", line);
    line += std::count(text.begin(), text.end(), '\n');
    return text.empty() ? absl::OkStatus() : sink(where, std::string(text));
  };
  size_t searched = 0;  // no separator starts before it
  while (file.read(chunk.data(), kChunkBytes), file.gcount() > 0) {
    pending.append(chunk.data(), static_cast<size_t>(file.gcount()));
    size_t begin = 0;
    while (!separator.empty()) {
      const size_t at = pending.find(separator, std::max(begin, searched));
      if (at == std::string::npos) break;
      RETURN_IF_ERROR(emit(std::string_view(pending).substr(begin, at - begin)));
      line += std::count(separator.begin(), separator.end(), '\n');
      begin = at + separator.size();
    }
    pending.erase(0, begin);
    searched = pending.size() < separator.size() ? 0 : pending.size() - separator.size();
    if (pending.size() > kMaxTextBytes) {
      return TooLong(Cat(options.path, ":", line), "; see --txt-split");
    }
  }
  return emit(pending);
}

}  // namespace

absl::Status ForEachDocument(const DocumentOptions& options, const DocumentSink& sink) {
  std::ifstream file(options.path, std::ios::binary);
  if (!file) return NotFound("text file ", options.path, ": ", std::strerror(errno));
  const bool lines = options.path.ends_with(".jsonl");
  RETURN_IF_ERROR(lines ? EachLine(file, options, sink) : EachPart(file, options, sink));
  if (file.bad()) return Internal("text file ", options.path, ": cannot read");
  return absl::OkStatus();
}

}  // namespace blockstep
