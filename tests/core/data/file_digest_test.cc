#include "core/data/file_digest.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

namespace blockstep {
namespace {

class FileDigest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string Of(const std::string& content, const std::string& name = "a") {
    std::ofstream(folder_ + name, std::ios::binary) << content;
    const auto digest = SampledSha256(folder_ + name);
    EXPECT_TRUE(digest.ok()) << digest.status();
    return digest.value_or("");
  }
  const std::string folder_ = testing::TempDir() + "digest-" + std::to_string(getpid()) + "/";
};

TEST_F(FileDigest, IsOfTheContentNotTheName) {
  const std::string large(9 << 20, 'x');
  for (const std::string& content : {std::string(), std::string("tokens"), large}) {
    EXPECT_EQ(Of(content, "a"), Of(content, "b"));
  }
}

TEST_F(FileDigest, EveryByteOfASmallFileCounts) {
  std::set<std::string> seen = {Of("abcdefgh")};
  for (int i = 0; i < 8; ++i) {
    std::string other = "abcdefgh";
    other[i] = 'X';
    EXPECT_TRUE(seen.insert(Of(other)).second) << i;
  }
  EXPECT_TRUE(seen.insert(Of("abcdefg")).second);
}

TEST_F(FileDigest, ALargeFileCountsBySizeBothEndsAndBlocksBetween) {
  const int64_t size = (9 << 20) + 5, last = size - 4096, step = last / 63;
  const std::string content(size, 'x');
  std::set<std::string> seen = {Of(content), Of(content + "x")};
  EXPECT_EQ(seen.size(), 2u);
  for (const int64_t at : {int64_t{0}, int64_t{4095}, step, 31 * step + 4095, last, size - 1}) {
    std::string other = content;
    other[at] = 'y';
    EXPECT_TRUE(seen.insert(Of(other)).second) << at;
  }
  std::string between = content;
  between[4096] = 'y';
  EXPECT_EQ(Of(between), Of(content)) << "what is sampled is what the header says";
}

TEST_F(FileDigest, WhatCannotBeReadIsNamed) {
  EXPECT_EQ(SampledSha256(folder_ + "none").status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(SampledSha256(folder_ + "none").status().message().find("none: cannot open"),
            std::string::npos);
  EXPECT_FALSE(SampledSha256(folder_).ok());
}

}  // namespace
}  // namespace blockstep
