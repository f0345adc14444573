#include "core/data/token_file.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include "core/data/unigram.h"
#include "tests/core/data/token_files.h"

namespace blockstep {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<TokenFile> Open(const std::string& path, TokenLayout layout = TokenLayout::kAuto) {
  return TokenFile::Open({.path = path, .layout = layout, .vocab_size = 70000});
}

// Opening `bytes` fails with `code` and a message that holds the path and every one of `parts`.
void ExpectRefused(const std::string& bytes, absl::StatusCode code,
                   const std::vector<std::string>& parts, TokenLayout layout = TokenLayout::kAuto) {
  const std::string path = WriteBytes("refused.bin", bytes);
  const auto file = Open(path, layout);
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.status().code(), code) << file.status();
  const std::string message(file.status().message());
  EXPECT_THAT(message, HasSubstr(path));
  for (const std::string& part : parts) EXPECT_THAT(message, HasSubstr(part));
}

TEST(TokenFile, ReadsUint16) {
  const auto file =
      Open(WriteBytes("a.bin", LlmcHeader(20240520, 1, 5) + Ids({1, 2, 65535, 4, 5}, 2)));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->tokens(), 5);
  EXPECT_EQ(file->token_bytes(), 2);
  std::vector<int32_t> ids(3, -1);
  ASSERT_TRUE(file->Read(2, absl::MakeSpan(ids)).ok());
  EXPECT_THAT(ids, ElementsAre(65535, 4, 5));
}

TEST(TokenFile, ReadsUint32) {
  const auto file =
      Open(WriteBytes("a.bin", LlmcHeader(20240801, 7, 3) + Ids({69999, 65536, 0}, 4)));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->token_bytes(), 4);
  std::vector<int32_t> ids(3, -1);
  ASSERT_TRUE(file->Read(0, absl::MakeSpan(ids)).ok());
  EXPECT_THAT(ids, ElementsAre(69999, 65536, 0));
}

TEST(TokenFile, ReadsRawByNameOrByChoice) {
  const std::string bytes = Ids({7, 8, 9}, 2);
  for (const auto& [name, layout] :
       {std::pair("a.raw", TokenLayout::kAuto), std::pair("a.u16", TokenLayout::kAuto),
        std::pair("a.bin", TokenLayout::kRawUint16)}) {
    const auto file = Open(WriteBytes(name, bytes), layout);
    ASSERT_TRUE(file.ok()) << file.status();
    std::vector<int32_t> ids(3, -1);
    ASSERT_TRUE(file->Read(0, absl::MakeSpan(ids)).ok());
    EXPECT_THAT(ids, ElementsAre(7, 8, 9));
  }
}

// Widening is done in place; a long read must still give every id.
TEST(TokenFile, LongReadKeepsEveryId) {
  std::vector<uint32_t> wanted(5000);
  for (size_t i = 0; i < wanted.size(); ++i) wanted[i] = (i * 40503u) & 0xffff;
  const auto file = Open(WriteBytes("a.raw", Ids(wanted, 2)));
  ASSERT_TRUE(file.ok()) << file.status();
  std::vector<int32_t> ids(wanted.size());
  ASSERT_TRUE(file->Read(0, absl::MakeSpan(ids)).ok());
  EXPECT_TRUE(std::equal(ids.begin(), ids.end(), wanted.begin()));
}

TEST(TokenFile, RefusesMissing) {
  const auto file = Open("/nonexistent/train.bin");
  EXPECT_EQ(file.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(file.status().message()), HasSubstr("/nonexistent/train.bin"));
}

TEST(TokenFile, RefusesFolder) {
  EXPECT_EQ(Open(::testing::TempDir()).status().code(), absl::StatusCode::kDataLoss);
}

TEST(TokenFile, RefusesShortHeader) {
  ExpectRefused(std::string(1023, '\0'), absl::StatusCode::kDataLoss, {"1023", "1024"});
}

TEST(TokenFile, RefusesBadMagic) {
  ExpectRefused(LlmcHeader(20240521, 1, 1) + Ids({1}, 2), absl::StatusCode::kDataLoss,
                {"20240521", "20240520", "20240801", ".u16"});
}

TEST(TokenFile, RefusesBadVersion) {
  ExpectRefused(LlmcHeader(20240520, 7, 1) + Ids({1}, 2), absl::StatusCode::kDataLoss,
                {"expected version 1", "got 7"});
  ExpectRefused(LlmcHeader(20240801, 1, 1) + Ids({1}, 4), absl::StatusCode::kDataLoss,
                {"expected version 7", "got 1"});
}

TEST(TokenFile, RefusesTruncated) {
  ExpectRefused(LlmcHeader(20240520, 1, 10) + Ids({1, 2, 3}, 2), absl::StatusCode::kDataLoss,
                {"truncated: expected 10 tokens", "got 3"});
}

TEST(TokenFile, RefusesBytesBeyondTheCount) {
  ExpectRefused(LlmcHeader(20240520, 1, 2) + Ids({1, 2, 3}, 2), absl::StatusCode::kDataLoss,
                {"6 bytes", "expected 2 tokens of 2 bytes"});
  ExpectRefused(LlmcHeader(20240520, 1, -1), absl::StatusCode::kDataLoss, {"-1"});
}

TEST(TokenFile, RefusesOddRaw) {
  ExpectRefused("abc", absl::StatusCode::kDataLoss, {"even number of bytes", "got 3"},
                TokenLayout::kRawUint16);
}

TEST(TokenFile, NamesIdOutsideVocabulary) {
  const std::string path = WriteBytes("a.raw", Ids({3, 4, 100, 5}, 2));
  const auto file = TokenFile::Open({.path = path, .vocab_size = 100});
  ASSERT_TRUE(file.ok());
  std::vector<int32_t> ids(3);
  const absl::Status status = file->Read(1, absl::MakeSpan(ids));
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  for (const char* part : {path.c_str(), "got 100", "token 2", "size 100"}) {
    EXPECT_THAT(std::string(status.message()), HasSubstr(part));
  }
}

// Ids above 2^31 would be negative as int32: they must not pass as small.
TEST(TokenFile, RefusesHugeUint32) {
  const auto file = Open(WriteBytes("a.bin", LlmcHeader(20240801, 7, 1) + Ids({0xffffffffu}, 4)));
  ASSERT_TRUE(file.ok());
  std::vector<int32_t> ids(1);
  EXPECT_EQ(file->Read(0, absl::MakeSpan(ids)).code(), absl::StatusCode::kDataLoss);
}

TEST(TokenFile, FileThatShrinksIsAnErrorNotACrash) {
  const std::string path = WriteBytes("a.raw", Ids({1, 2, 3, 4}, 2));
  const auto file = Open(path);
  ASSERT_TRUE(file.ok());
  ASSERT_EQ(::truncate(path.c_str(), 4), 0);
  std::vector<int32_t> ids(4);
  const absl::Status status = file->Read(0, absl::MakeSpan(ids));
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("expected 4 tokens, got 2"));
}

TEST(TokenFile, HoldsAnId) {
  std::vector<uint32_t> ids(40001, 3);
  ids[40000] = 2;  // in the last of several pieces
  const auto file = Open(WriteBytes("a.raw", Ids(ids, 2)));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(*file->Holds(3, 1));
  EXPECT_FALSE(*file->Holds(3, 0));
  EXPECT_TRUE(*file->Holds(2, 1 << 20));
  EXPECT_FALSE(*file->Holds(2, 40000));
  EXPECT_FALSE(*file->Holds(1, 1 << 20));
}

// Counts 2, 1, 1 of 4: H = 1/2 ln 2 + 2 * 1/4 ln 4 = 1.5 ln 2.
TEST(Unigram, MatchesHandComputation) {
  const std::string path = WriteBytes("a.raw", Ids({5, 1, 5, 2}, 2));
  const auto file = TokenFile::Open({.path = path, .vocab_size = 6});
  ASSERT_TRUE(file.ok());
  const auto counts = CountTokens(*file);
  ASSERT_TRUE(counts.ok()) << counts.status();
  EXPECT_THAT(*counts, ElementsAre(0, 1, 1, 0, 0, 2));
  EXPECT_NEAR(UnigramCrossEntropy(*counts), 1.5 * 0.6931471805599453, 1e-15);
}

TEST(Unigram, EdgeCases) {
  EXPECT_EQ(UnigramCrossEntropy(std::vector<int64_t>{0, 0}), 0);
  EXPECT_EQ(UnigramCrossEntropy(std::vector<int64_t>{0, 9}), 0);
  EXPECT_NEAR(UnigramCrossEntropy(std::vector<int64_t>(64, 3)), 6 * 0.6931471805599453, 1e-14);
}

// More tokens than one chunk of the counter.
TEST(Unigram, CountsWholeFile) {
  std::vector<uint32_t> ids(40001);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = i % 3;
  const std::string path = WriteBytes("a.raw", Ids(ids, 2));
  const auto counts = CountTokens(*TokenFile::Open({.path = path, .vocab_size = 3}));
  ASSERT_TRUE(counts.ok());
  EXPECT_THAT(*counts, ElementsAre(13334, 13334, 13333));
}

}  // namespace
}  // namespace blockstep
