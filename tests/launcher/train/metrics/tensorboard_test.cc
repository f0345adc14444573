#include "launcher/train/metrics/tensorboard.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "core/base/check.h"

namespace blockstep {
namespace {

// RFC 3720, appendix B.4.
TEST(Crc32c, PublishedValues) {
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
}

// What an independent reader makes of the file.
std::string ReadEvents(const std::string& path) {
  const std::string command = std::string("python3 ") + BLOCKSTEP_SOURCE_DIR +
                              "/tests/launcher/train/metrics/read_events.py '" + path + "' 2>&1";
  std::FILE* pipe = popen(command.c_str(), "r");
  CHECK(pipe != nullptr);
  std::string text;
  for (char buffer[256]; std::fgets(buffer, sizeof(buffer), pipe) != nullptr;) text += buffer;
  pclose(pipe);
  return text;
}

TEST(TensorBoard, AnotherReaderSeesTheScalars) {
  const std::string folder = testing::TempDir() + "tensorboard-" + std::to_string(getpid());
  const auto clock = [] { return 1.7e9; };
  {
    auto fresh = TensorBoardWriter::Open(folder, "run", 0, clock);
    ASSERT_TRUE(fresh.ok()) << fresh.status();
    ASSERT_TRUE(fresh->Write({.step = 0, .values = {{"loss", 2.5}, {"lr", 0.001}}}).ok());
    ASSERT_TRUE(fresh->Write({.step = 300, .values = {{"eval/loss", 1.25}}}).ok());
    EXPECT_EQ(ReadEvents(fresh->path()),
              "0 version=brain.Event:2\n0 loss=2.5 lr=0.001\n300 eval/loss=1.25\n");
  }
  auto resumed = TensorBoardWriter::Open(folder, "run", 200, clock);
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  ASSERT_TRUE(resumed->Write({.step = 200, .values = {{"loss", 2}}}).ok());
  EXPECT_EQ(ReadEvents(resumed->path()), "0 version=brain.Event:2\n200 session=1\n200 loss=2\n");
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace blockstep
