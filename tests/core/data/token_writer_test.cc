#include "core/data/token_writer.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <sstream>

#include "tests/core/data/token_files.h"

namespace blockstep {
namespace {

using ::testing::HasSubstr;

std::string Slurp(const std::string& path) {
  std::ostringstream out;
  out << std::ifstream(path, std::ios::binary).rdbuf();
  return out.str();
}

// The bytes of `ids` written in one go, or the first error.
absl::StatusOr<std::string> Written(TokenLayout layout, int64_t vocab,
                                    const std::vector<int32_t>& ids) {
  const std::string path = TempPath("out.bin");
  auto writer = TokenWriter::Create({.path = path, .layout = layout, .vocab_size = vocab});
  if (!writer.ok()) return writer.status();
  if (const auto status = writer->Append(ids); !status.ok()) return status;
  if (const auto status = writer->Finish(); !status.ok()) return status;
  return Slurp(path);
}

TEST(TokenWriter, BytesAreTheLayouts) {
  EXPECT_EQ(*Written(TokenLayout::kLlmc, 65536, {1, 65535}),
            LlmcHeader(20240520, 1, 2) + Ids({1, 65535}, 2));
  EXPECT_EQ(*Written(TokenLayout::kLlmc, 65537, {1, 65536}),
            LlmcHeader(20240801, 7, 2) + Ids({1, 65536}, 4));
  EXPECT_EQ(*Written(TokenLayout::kRawUint16, 65536, {7, 8, 9}), Ids({7, 8, 9}, 2));
}

TEST(TokenWriter, RefusesWhatDoesNotFit) {
  EXPECT_EQ(Written(TokenLayout::kRawUint16, 65537, {1}).status().code(),
            absl::StatusCode::kInvalidArgument);
  const auto outside = Written(TokenLayout::kLlmc, 10, {3, 10});
  EXPECT_THAT(std::string(outside.status().message()),
              HasSubstr("token 1: expected an id below the vocabulary size 10, got 10"));
}

TEST(TokenWriter, LongFileReadsBack) {
  std::vector<int32_t> ids(1200000);  // more than one buffer
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>((i * 2654435761u) % 50257);
  ASSERT_TRUE(Written(TokenLayout::kLlmc, 50257, ids).ok());
  const auto file = TokenFile::Open({.path = TempPath("out.bin"), .vocab_size = 50257});
  ASSERT_TRUE(file.ok()) << file.status();
  std::vector<int32_t> back(ids.size());
  ASSERT_TRUE(file->Read(0, absl::MakeSpan(back)).ok());
  EXPECT_EQ(back, ids);
}

// Nothing is under the final name before Finish, and nothing at all is left without it.
TEST(TokenWriter, AppearsWholeOrNotAtAll) {
  const std::string path = TempPath("whole.bin");
  const std::string temporary = path + ".tmp." + std::to_string(::getpid());
  {
    auto writer = TokenWriter::Create({.path = path, .vocab_size = 10});
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(writer->Append(std::vector<int32_t>{1, 2}).ok());
    EXPECT_NE(::access(path.c_str(), F_OK), 0);
    EXPECT_EQ(::access(temporary.c_str(), F_OK), 0);
  }
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
  EXPECT_NE(::access(temporary.c_str(), F_OK), 0);
}

}  // namespace
}  // namespace blockstep
