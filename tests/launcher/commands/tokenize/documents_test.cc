#include "launcher/commands/tokenize/documents.h"

#include <gmock/gmock.h>

#include <fstream>

#include "core/base/status.h"
#include "launcher/tokenizer/protocol.h"

namespace blockstep {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Found {
  absl::Status status;
  std::string path;
  std::vector<std::string> texts, places;
};

Found Read(const std::string& name, const std::string& content, const std::string& separator = "") {
  Found found;
  found.path = ::testing::TempDir() + "blockstep_documents_" + name;
  std::ofstream(found.path, std::ios::binary | std::ios::trunc) << content;
  found.status = ForEachDocument({.path = found.path, .field = "text", .separator = separator},
                                 [&](const std::string& where, const std::string& text) {
                                   found.texts.push_back(text);
                                   found.places.push_back(where.substr(found.path.size()));
                                   return absl::OkStatus();
                                 });
  return found;
}

TEST(Documents, JsonLines) {
  const Found found = Read("a.jsonl",
                           "{\"text\": \"one\\nline\", \"url\": 3}\n\n"
                           "{\"text\": \"\"}\r\n{\"text\": \"\\u00e9\"}");
  ASSERT_TRUE(found.status.ok()) << found.status;
  EXPECT_THAT(found.texts, ElementsAre("one\nline", "\u00e9"));
  EXPECT_THAT(found.places, ElementsAre(":1", ":4"));
}

TEST(Documents, JsonErrorsNameFileAndLine) {
  const std::string good = "{\"text\": \"a\"}\n";
  for (const auto& [line, part] :
       {std::pair("{\"text\": ", "not JSON"),
        std::pair("[1]", "expected a JSON object, got JSON array"),
        std::pair("{\"body\": 1, \"id\": 2}", "\"text\" among: body, id"),
        std::pair("{\"text\": 5}", "expected a string, got JSON number"),
        std::pair("{\"text\": \"\xff\"}", "not JSON")}) {
    const Found found = Read("bad.jsonl", good + line + "\n" + good);
    EXPECT_EQ(found.status.code(), absl::StatusCode::kDataLoss) << line;
    EXPECT_THAT(std::string(found.status.message()), HasSubstr(found.path + ":2: ")) << line;
    EXPECT_THAT(std::string(found.status.message()), HasSubstr(part));
  }
}

TEST(Documents, TextIsOneDocumentOrSplit) {
  EXPECT_THAT(Read("a.txt", "x\n\ny\n").texts, ElementsAre("x\n\ny\n"));
  const Found found = Read("a.txt", "x\ny<E>\n<E><E>z", "<E>");
  EXPECT_THAT(found.texts, ElementsAre("x\ny", "\n", "z"));
  EXPECT_THAT(found.places, ElementsAre(":1", ":2", ":3"));
}

// The separator lies across the reader's chunks of 64 KiB in each possible way.
TEST(Documents, SeparatorAcrossChunks) {
  for (int before = 65530; before <= 65540; ++before) {
    const std::string head(before, 'a');
    const Found found = Read("long.txt", head + "<|end|>" + "b<|end|>c", "<|end|>");
    EXPECT_THAT(found.texts, ElementsAre(head, "b", "c")) << before;
  }
}

TEST(Documents, MissingAndHuge) {
  const auto sink = [](const std::string&, const std::string&) { return absl::OkStatus(); };
  EXPECT_EQ(ForEachDocument({.path = "/nonexistent.txt"}, sink).code(),
            absl::StatusCode::kNotFound);
  const Found found = Read("huge.txt", std::string(kMaxTextBytes + 1, 'a'));
  EXPECT_THAT(std::string(found.status.message()), HasSubstr("--txt-split"));
}

TEST(Documents, SinkErrorEndsIt) {
  const std::string path = ::testing::TempDir() + "blockstep_documents_stop.txt";
  std::ofstream(path) << "a\nb\nc";
  int calls = 0;
  const absl::Status status =
      ForEachDocument({.path = path, .separator = "\n"}, [&](const auto&, const auto&) {
        ++calls;
        return Internal("stop");
      });
  EXPECT_EQ(status.message(), "stop");
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace blockstep
