#include "core/io/json_text.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "core/base/nearest.h"
#include "core/base/shown.h"
#include "core/base/status.h"

namespace blockstep {
namespace {

std::string ErrorOf(const std::string& text) {
  const absl::StatusOr<nlohmann::json> json = ParseJson(text);
  return json.ok() ? "" : std::string(Std(json.status().message()));
}

TEST(ParseJson, ReadsWhatIsJson) {
  const auto json = ParseJson(R"( {"a": [1, 2.5, "\"[{", null], "b": {"a": {"a": true}}} )");
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(json->at("a").at(2), "\"[{");
  EXPECT_EQ(json->at("b").at("a").at("a"), true);
}

TEST(ParseJson, DepthIsCountedOutsideOfTexts) {
  const std::string open(kJsonDepth, '['), close(kJsonDepth, ']');
  EXPECT_EQ(ErrorOf(open + close), "");
  EXPECT_EQ(ErrorOf("[" + open + close + "]"),
            "expected at most 64 levels of nesting, got more at byte 64");
  EXPECT_EQ(ErrorOf(R"(["\\", ")" + std::string(1000, '[') + R"(", "\")" + std::string(1000, '{') +
                    "\"]"),
            "");
  // Side by side is not one in the other.
  std::string many = "[";
  for (int i = 0; i < 1000; ++i) many += "[{}],";
  EXPECT_EQ(ErrorOf(many + "0]"), "");
  EXPECT_NE(ErrorOf(std::string(10'000'000, '[')), "");
}

TEST(ParseJson, AKeyTwiceInOneObjectIsRefused) {
  EXPECT_EQ(ErrorOf(R"({"a": 1, "b": {"c": 1, "c": 1}})"),
            "expected each key once, got \"c\" twice");
  EXPECT_EQ(ErrorOf(R"([{"": 1, "": 2}])"), "expected each key once, got \"\" twice");
  EXPECT_EQ(ErrorOf(R"({"a": 1, "\u0061": 2})"), "expected each key once, got \"a\" twice");
  EXPECT_EQ(ErrorOf(R"({"a": {"a": [{"a": 1}, {"a": 1}]}, "b": {"a": 1}})"), "");
}

TEST(ParseJson, WhatIsNotJsonIsAnErrorWithItsPlace) {
  EXPECT_EQ(ErrorOf(R"({"a": })"), "expected JSON, got an error at byte 7");
  EXPECT_EQ(ErrorOf("1e999"), "expected JSON, got a number out of range");
  EXPECT_EQ(ErrorOf(std::string("{}\0{}", 5)), "expected JSON, got a zero byte at byte 3");
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("]"), std::string("\xff"),
        std::string("{\"a\n\": 1}"), std::string("\"\xc0\x80\"")}) {
    EXPECT_NE(ErrorOf(text), "") << text;
  }
}

TEST(Shown, IsOneShortLineThatATerminalBears) {
  EXPECT_EQ(Shown("model.norm.weight"), "model.norm.weight");
  EXPECT_EQ(Shown(std::string("a\x1b[2J\n\0\x7f", 8)), "a\\x1b[2J\\x0a\\x00\\x7f");
  EXPECT_EQ(Shown("größe"), "größe");
  EXPECT_EQ(Shown(std::string(kShownBytes, 'x')), std::string(kShownBytes, 'x'));
  EXPECT_EQ(Shown(std::string(1000, 'x')), std::string(kShownBytes, 'x') + "... (1000 bytes)");
  // No character is cut in two.
  EXPECT_EQ(Shown(std::string(kShownBytes - 1, 'x') + "ö"),
            std::string(kShownBytes - 1, 'x') + "... (121 bytes)");
}

TEST(Nearest, HasOneDistanceForAll) {
  EXPECT_EQ(EditDistance("slots", "slotz"), 1u);
  EXPECT_EQ(EditDistance("", "abc"), 3u);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3u);
  EXPECT_EQ(DidYouMean("slotz", {"steps", "slots"}), ", did you mean slots?");
  EXPECT_EQ(DidYouMean("xyz", {"steps", "slots"}), "");
  // A megabyte is no slip of the keyboard.
  EXPECT_EQ(DidYouMean(std::string(1 << 20, 's'), {"steps", std::string(1 << 20, 's')}), "");
}

}  // namespace
}  // namespace blockstep
