// Documents of a text file or a JSON-lines file, one at a time: memory is bounded by the longest.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"

namespace blockstep {

struct DocumentOptions {
  std::string path;       // .jsonl: one object a line; any other name: text
  std::string field;      // of a .jsonl object: the text
  std::string separator;  // of a text file: ends a document; empty: the file is one document
};

// `where` is "path:line" of the document's first line, for messages.
using DocumentSink = std::function<absl::Status(const std::string& where, const std::string& text)>;

// Calls `sink` for every document that is not empty; stops at the first error. DATA_LOSS: a line
// that is no such object, or a document over kMaxTextBytes; NOT_FOUND: no such file.
absl::Status ForEachDocument(const DocumentOptions& options, const DocumentSink& sink);

}  // namespace blockstep
