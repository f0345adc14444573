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

bool Always() { return true; }

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
  EXPECT_NE(SampledSha256(folder_ + "none").status().message().find("none: No such file"),
            std::string::npos);
  EXPECT_FALSE(SampledSha256(folder_).ok());
  EXPECT_EQ(FullSha256(folder_, Always).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(FileDigest, TheFullOneIsOfEveryByte) {
  const auto full = [&](const std::string& content) {
    std::ofstream(folder_ + "full", std::ios::binary) << content;
    return FullSha256(folder_ + "full", Always).value().value();
  };
  // As `sha256sum` prints them.
  EXPECT_EQ(full(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(full("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  std::string content((9 << 20) + 5, 'x');
  const std::string before = full(content);
  content[4096] = 'y';  // between what is sampled
  EXPECT_NE(full(content), before);
}

TEST_F(FileDigest, AFullOneIsGivenUpWhenAsked) {
  std::ofstream(folder_ + "large", std::ios::binary) << std::string(9 << 20, 'x');
  int asked = 0;
  const auto digest = FullSha256(folder_ + "large", [&] { return ++asked < 4; });
  ASSERT_TRUE(digest.ok()) << digest.status();
  EXPECT_FALSE(digest->has_value());
  EXPECT_EQ(asked, 4) << "once for each MiB";
}

}  // namespace
}  // namespace blockstep
