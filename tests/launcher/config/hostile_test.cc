// Configurations that no person wrote, or a slip of the keyboard did: one message, at once.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/base/str.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "launcher/config/train_config.h"

namespace blockstep {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr char kSmall[] = "model { preset: \"9m\" }\n";

std::string ErrorOf(std::string_view text, const std::vector<std::string>& overrides = {}) {
  return std::string(ParseTrainConfig(text, "run.txt", overrides).status().message());
}

TEST(HostileConfig, NestingCostsNoStack) {
  std::string deep;
  for (int i = 0; i < 1000000; ++i) deep += "a {";
  const std::string error = ErrorOf(kSmall + deep);
  EXPECT_THAT(error, HasSubstr("run.txt:2:99: a.a.a."));
  EXPECT_THAT(error, HasSubstr("expected at most 32 levels of '{', got more"));
  EXPECT_LT(error.size(), 10000u);
  EXPECT_THAT(ErrorOf(kSmall + std::string("x { x { y: 3 } }")), Not(HasSubstr("levels")));
  EXPECT_NE(ErrorOf("data { train: " + std::string(1000000, '[')), "");
  EXPECT_NE(ErrorOf(std::string(1000000, '{')), "");
}

TEST(HostileConfig, AMillionMistakesAreAHundredLines) {
  for (const char* piece : {"x: 1\n", "}\n", "\x01", "train { steps: }\n"}) {
    std::string text;
    for (int i = 0; i < 100000; ++i) text += piece;
    const std::string error = ErrorOf(text);
    EXPECT_LE(std::count(error.begin(), error.end(), '\n'), 102) << piece;
    EXPECT_LT(error.size(), 20000u) << piece;
  }
  std::string few = kSmall;
  for (int i = 0; i < 20; ++i) few += "x: 1\n";
  EXPECT_THAT(ErrorOf(few), HasSubstr("configuration: 20 errors"));
}

TEST(HostileConfig, WhatIsShownIsShortAndPrintable) {
  const std::string large(1000000, 'x');
  for (const std::string& text :
       {"train { steps: \"" + large + "\" }", "train { " + large + ": 3 }",
        "train { numerics: " + large + " }", large + ":\x1b[2J"}) {
    const std::string error = ErrorOf(kSmall + text);
    EXPECT_LT(error.size(), 2000u);
    EXPECT_THAT(error, AllOf(HasSubstr("bytes)"), Not(HasSubstr("\x1b"))));
  }
  EXPECT_LT(ErrorOf(kSmall, {"train.steps=" + large}).size(), 2000u);
  EXPECT_LT(ErrorOf(kSmall, {large + "=3"}).size(), 2000u);
}

TEST(HostileConfig, ZeroBytesEndNoName) {
  EXPECT_THAT(ErrorOf("model { path: \"/etc\\000/x\" }"),
              HasSubstr("model.path: expected no zero byte, got \"/etc\\x00/x\""));
  EXPECT_NE(ErrorOf(std::string(kSmall) + std::string(10, '\0')), "");
}

TEST(HostileConfig, BytesThatNoTokenHasAreOneErrorPerLine) {
  for (const auto& [text, byte] :
       {std::pair{"l\xC3\xA4r: 1", "2:2: expected ASCII, got byte 0xC3"},
        std::pair{"\t\xE2\x80\x9Cx", "2:9: expected ASCII, got byte 0xE2"},
        std::pair{"a\x1b\x01: 1", "2:2: expected ASCII, got byte 0x1B"}}) {
    const std::string error = ErrorOf(kSmall + std::string(text));
    EXPECT_THAT(error, HasSubstr(Cat("run.txt:", byte)));
    EXPECT_EQ(error.find("ASCII"), error.rfind("ASCII")) << error;
    EXPECT_THAT(error, Not(HasSubstr("expected a field name")));
  }
  // A line of nothing else is not read to its end.
  std::string line;
  for (int i = 0; i < 500000; ++i) line += "x\x01";
  EXPECT_THAT(ErrorOf(line), HasSubstr("too many errors; the rest is not read"));
  // Comments and paths are free.
  EXPECT_THAT(ErrorOf(kSmall + std::string("# \xC3\xA4\nx: \"\xC3\xA4\"")),
              Not(HasSubstr("ASCII")));
}

TEST(HostileConfig, NumbersThatNoRunHasAreRefused) {
  const std::pair<const char*, const char*> cases[] = {
      {"model.vocab=2147483648", "<= 16777216"},
      {"data.tokens=9223372036854775807", "<= 1073741824"},
      {"batch.slots=9223372036854775807", "<= 1048576"},
      {"train.steps=9223372036854775807", "<= 1099511627776"},
      {"train.loss_chunk=9223372036854775807", "<= 1073741824"},
      {"policy.block_steps=9223372036854775807", "<= 1099511627776"},
      {"policy.patience=9223372036854775807", "<= 1099511627776"},
      {"runtime.threads=100000", "<= 1024"},
      {"runtime.local_ranks=100000", "<= 256"},
      {"runtime.comm_timeout_s=1e300", "<= 1e+08"},
      {"coordinator.lag=9223372036854775807", "0 to 1000000"},
      {"coordinator.grace_s=1e300", "<= 1e+08"},
      {"coordinator.lease_s=1e300", "<= 1e+08"},
      {"coordinator.keepalive_s=1e300", "<= 1e+08"},
      {"checkpoint.keep=9223372036854775807", "<= 1073741824"},
      {"checkpoint.disk_timeout_s=1e300", "<= 1e+08"},
      // These are ints in the plain struct: 2^32 + 1 must not come out as 1.
      {"policy.embedding_split=4294967297", "<= 1048576"},
      {"policy.probes_per_step=4294967297", "<= 1048576"},
      {"policy.probes_per_step=-4294967295", ">= 0"}};
  for (const auto& [set, wanted] : cases) {
    const std::string field(set, std::strchr(set, '='));
    EXPECT_THAT(ErrorOf(kSmall, {"runtime.transport=local", set}),
                AllOf(HasSubstr("configuration: 1 error\n"),
                      HasSubstr(Cat(field, ": expected ", wanted, ", got "))))
        << set;
  }
}

class HostileFile : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(folder_);
    alarm(60);
  }
  void TearDown() override {
    alarm(0);
    fs::remove_all(folder_);
  }
  std::string ErrorOf(const std::string& file) {
    return std::string(LoadTrainConfig(file).status().message());
  }
  const std::string folder_ = testing::TempDir() + "hostile-" + std::to_string(getpid()) + "/";
};

TEST_F(HostileFile, OnlyRegularOnesAreRead) {
  ASSERT_EQ(mkfifo((folder_ + "pipe").c_str(), 0600), 0);
  EXPECT_EQ(ErrorOf(folder_ + "pipe"),
            "configuration: " + folder_ + "pipe: expected a regular file, got a pipe");
  EXPECT_THAT(ErrorOf("/dev/zero"), HasSubstr("got a device"));
  EXPECT_THAT(ErrorOf(folder_), HasSubstr("got a folder"));
  EXPECT_THAT(ErrorOf(folder_ + "none"), HasSubstr("none: No such file"));
  fs::create_symlink(folder_ + "loop", folder_ + "loop");
  EXPECT_THAT(ErrorOf(folder_ + "loop"), HasSubstr("loop: Too many levels of symbolic links"));
  std::ofstream(folder_ + "large").close();
  fs::resize_file(folder_ + "large", uintmax_t{1} << 42);
  EXPECT_THAT(ErrorOf(folder_ + "large"), HasSubstr("expected at most 67108864 bytes, got 4398"));
}

// What is wrong with the fields, with the script by itself and with the script for this model.
TEST(Script, EveryFaultIsToldAtOnce) {
  const std::string script = R"(policy { name: scripted
  phase { steps: 0 entry { tensor: "model.norm.weight" row_begin: 0 row_end: 16 } }
  phase { steps: 2000
    entry { tensor: "model.norm.bias" }
    entry { tensor: "lm_head.weight" lr_scale: -1 }
    entry { tensor: "lm_head.weight" }
    entry { } } }
batch { slotz: 3 })";
  const std::string error = ErrorOf(kSmall + script);
  EXPECT_THAT(error, HasSubstr("configuration: 7 errors"));
  for (const char* part :
       {"run.txt:9:9: batch.slotz: unknown field",
        "run.txt:3:11: policy.phase[0].steps: expected >= 1, got 0",
        "run.txt:6:38: policy.phase[1].entry[1].lr_scale: expected > 0, got -1",
        "run.txt:8:11: policy.phase[1].entry[3].tensor: expected a tensor's name, got none",
        "run.txt:3:26: policy.phase[0].entry[0]: active set: model.norm.weight: expected row "
        "bounds",
        "run.txt:5:11: policy.phase[1].entry[0]: the model has no tensor model.norm.bias",
        "run.txt:4:9: policy.phase[1]: active set: lm_head.weight rows [0, 32000) overlap"}) {
    EXPECT_THAT(error, HasSubstr(part));
  }
  // Without a model there is nothing to hold the names against.
  EXPECT_THAT(ErrorOf("model { config: \"/no/such.json\" }\n" + script),
              HasSubstr("configuration: 4 errors"));
}

}  // namespace
}  // namespace blockstep
