#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "launcher/cli/flags.h"

namespace blockstep {
namespace {

TEST(WrapWords, BreaksBetweenWordsOnly) {
  EXPECT_EQ(WrapWords("one two three", 80), "one two three");
  EXPECT_EQ(WrapWords("one two three", 13), "one two three");
  EXPECT_EQ(WrapWords("one two three", 12), "one two\nthree");
  EXPECT_EQ(WrapWords("one two three", 3), "one\ntwo\nthree");
  EXPECT_EQ(WrapWords("a /very/long/path b", 6), "a\n/very/long/path\nb");
  EXPECT_EQ(WrapWords("", 6), "");
}

TEST(WrapWords, KeepsLineFeeds) {
  EXPECT_EQ(WrapWords("one\ntwo three", 9), "one\ntwo three");
  EXPECT_EQ(WrapWords("one\n\ntwo", 80), "one\n\ntwo");
}

TEST(WrapHelp, LinesFitAndLoseNoWord) {
  std::string text;
  for (int i = 0; i < 60; ++i) text += "word ";
  text += "end";
  CLI::App app{text};
  int value = 0;
  app.add_option("--flag", value, text);
  WrapHelp(app, 72);
  std::istringstream help(app.help());
  std::string line;
  size_t longest = 0, words = 0;
  while (std::getline(help, line)) {
    longest = std::max(longest, line.size());
    for (size_t at = 0; (at = line.find("word", at)) != std::string::npos; ++at) ++words;
  }
  EXPECT_LE(longest, 72u);
  EXPECT_GT(longest, 66u);  // a further word would not fit
  EXPECT_EQ(words, 2u * 60);
}

}  // namespace
}  // namespace blockstep
