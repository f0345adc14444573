#include "launcher/train/metrics/json_lines.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>

namespace blockstep {
namespace {

class JsonLines : public testing::Test {
 protected:
  void SetUp() override {
    path_ = testing::TempDir() + "metrics-" + std::to_string(getpid()) + ".jsonl";
    std::filesystem::remove(path_);
  }
  void TearDown() override { std::filesystem::remove(path_); }
  void Write(int64_t first, int64_t end, double loss) {
    auto writer = JsonLinesWriter::Open(path_, first);
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (int64_t step = first; step < end; ++step) {
      ASSERT_TRUE(writer->Write({.step = step, .values = {{"loss", loss}}}).ok());
    }
  }
  std::string Text() {
    std::ifstream in(path_);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::string path_;
};

TEST_F(JsonLines, ResumedAtAStepEachStepIsThereOnce) {
  Write(0, 4, 1.5);
  Write(2, 4, 2.5);
  EXPECT_EQ(Text(),
            "{\"step\":0,\"loss\":1.5}\n{\"step\":1,\"loss\":1.5}\n"
            "{\"step\":2,\"loss\":2.5}\n{\"step\":3,\"loss\":2.5}\n");
}

// It was done before the checkpoint that a run goes on from, and is not done again.
TEST_F(JsonLines, AnEvaluationBetweenTheStepsStays) {
  {
    auto writer = JsonLinesWriter::Open(path_, 0);
    ASSERT_TRUE(writer.ok());
    for (int64_t step = 0; step < 3; ++step) {
      ASSERT_TRUE(writer->Write({.step = step, .values = {{"eval/loss", 3.5 - step}}}).ok());
      ASSERT_TRUE(writer->Write({.step = step, .values = {{"loss", 1.5}}}).ok());
    }
  }
  Write(2, 2, 0);
  const std::string kept =
      "{\"step\":0,\"eval/loss\":3.5}\n{\"step\":0,\"loss\":1.5}\n"
      "{\"step\":1,\"eval/loss\":2.5}\n{\"step\":1,\"loss\":1.5}\n"
      "{\"step\":2,\"eval/loss\":1.5}\n";
  EXPECT_EQ(Text(), kept);
  {
    const auto writer = JsonLinesWriter::Open(path_, 2);
    ASSERT_TRUE(writer.ok() && writer->kept_evaluation().has_value());
    EXPECT_EQ(MetricsJson(*writer->kept_evaluation()), "{\"step\":2,\"eval/loss\":1.5}");
    EXPECT_FALSE(JsonLinesWriter::Open(path_, 3)->kept_evaluation().has_value());
  }
  Write(0, 0, 0);
  EXPECT_EQ(Text(), "");
}

TEST_F(JsonLines, ATornLastLineGoes) {
  Write(0, 2, 1.5);
  std::ofstream(path_, std::ios::app) << "{\"step\":1,\"lo";
  Write(2, 3, 1.5);
  EXPECT_EQ(Text(),
            "{\"step\":0,\"loss\":1.5}\n{\"step\":1,\"loss\":1.5}\n{\"step\":2,\"loss\":1.5}\n");
}

TEST_F(JsonLines, ALastLineWithoutItsEndIsTorn) {
  Write(0, 1, 1.5);
  std::ofstream(path_, std::ios::app) << "{\"step\":1,\"loss\":1.5}";
  Write(2, 3, 2.5);
  EXPECT_EQ(Text(), "{\"step\":0,\"loss\":1.5}\n{\"step\":2,\"loss\":2.5}\n");
}

TEST_F(JsonLines, RestartedFromZeroTheFileIsEmpty) {
  Write(0, 4, 1.5);
  Write(0, 0, 0);
  EXPECT_EQ(Text(), "");
}

TEST(MetricsJson, NumbersNamesAndWhatJsonLacks) {
  EXPECT_EQ(
      MetricsJson({.step = 7,
                   .values = {{"tokens", 4096},
                              {"lr", 1e-3},
                              {"loss", std::numeric_limits<double>::quiet_NaN()}},
                   .block = "layer \"3\""}),
      "{\"step\":7,\"tokens\":4096,\"lr\":0.001,\"loss\":null,\"block\":\"layer \\\"3\\\"\"}");
}

TEST(JsonLinesOpen, ErrorNamesThePath) {
  const auto writer = JsonLinesWriter::Open("/nowhere/metrics.jsonl", 0);
  EXPECT_FALSE(writer.ok());
  EXPECT_NE(writer.status().message().find("/nowhere/metrics.jsonl"), std::string::npos);
}

}  // namespace
}  // namespace blockstep
