// A reader that sleeps, is slow, comes back or goes away: nobody who speaks waits for it.
#include "launcher/cli/text_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>
#include <thread>

#include "core/base/str.h"

namespace blockstep {
namespace {

constexpr double kAges = 300;  // a last resort

class TextWriterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::signal(SIGPIPE, SIG_IGN);
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    reader_ = ends[0], writer_ = ends[1];
  }
  void TearDown() override {
    CloseWriter();
    if (reader_ >= 0) close(reader_);
  }

  void CloseWriter() {
    if (writer_ >= 0) close(writer_);
    writer_ = -1;
  }

  // As small as a pipe can be, and full.
  void FillPipe() {
    const int bytes = fcntl(writer_, F_SETPIPE_SZ, 4096);
    ASSERT_GT(bytes, 0);
    filled_ = std::string(static_cast<size_t>(bytes), '.');
    ASSERT_EQ(write(writer_, filled_.data(), filled_.size()), static_cast<ssize_t>(filled_.size()));
  }

  // Until the last writer is closed.
  std::string ReadAll() {
    std::string text;
    char part[4096];
    for (ssize_t got; (got = read(reader_, part, sizeof part)) > 0;) {
      text.append(part, static_cast<size_t>(got));
    }
    return text;
  }

  int reader_ = -1, writer_ = -1;
  std::string filled_;
};

TEST_F(TextWriterTest, NobodyReadsAndNobodyWaits) {
  FillPipe();
  auto writer = std::make_unique<TextWriter>(
      TextWriterOptions{.fd = writer_, .max_bytes = 100, .hand_over_s = 0.01});
  for (int i = 0; i < 1000; ++i) writer->Write(Cat("line ", i, "\n"));
  EXPECT_FALSE(writer->Flush(0.01));
  // The reader comes back: what was said first, how much is missing, and the newest.
  std::string text;
  std::thread reads([&] { text = ReadAll(); });
  EXPECT_TRUE(writer->Flush(kAges));
  CloseWriter();
  reads.join();
  ASSERT_EQ(text.substr(0, filled_.size()), filled_);
  text = text.substr(filled_.size());
  const std::string first = "line 0\n";
  ASSERT_EQ(text.substr(0, first.size()), first);
  int dropped = 0, kept = 0;
  ASSERT_EQ(std::sscanf(text.c_str() + first.size(), "blockstep: %d messages dropped", &dropped), 1)
      << text;
  for (size_t at = 0; (at = text.find("line ", at)) != std::string::npos; ++at) ++kept;
  EXPECT_EQ(kept + dropped, 1000);
  EXPECT_GT(dropped, 900);
  EXPECT_TRUE(text.ends_with("line 998\nline 999\n")) << text;
}

TEST_F(TextWriterTest, ASlowReaderGetsEverythingInOrder) {
  ASSERT_GT(fcntl(writer_, F_SETPIPE_SZ, 4096), 0);
  std::string text, wanted;
  std::thread reads([&] { text = ReadAll(); });
  TextWriter writer({.fd = writer_, .max_bytes = size_t{1} << 24, .hand_over_s = 0});
  for (int i = 0; i < 20'000; ++i) {
    writer.Write(Cat("line ", i, "\n"));
    wanted += Cat("line ", i, "\n");
  }
  EXPECT_TRUE(writer.Flush(kAges));
  CloseWriter();
  reads.join();
  EXPECT_EQ(text, wanted);
}

TEST_F(TextWriterTest, WhatWasSaidIsOutBeforeTheNextThingHappens) {
  ASSERT_EQ(fcntl(reader_, F_SETFL, O_NONBLOCK), 0);
  TextWriter writer({.fd = writer_, .hand_over_s = kAges});
  for (const std::string text : {"one\n", "two\n"}) {
    writer.Write(text);
    char got[16] = {};
    ASSERT_EQ(read(reader_, got, sizeof got), static_cast<ssize_t>(text.size()));
    EXPECT_EQ(got, text);
  }
}

TEST_F(TextWriterTest, ANonBlockingDescriptorLosesNothing) {
  FillPipe();
  ASSERT_EQ(fcntl(writer_, F_SETFL, O_NONBLOCK), 0);
  TextWriter writer({.fd = writer_, .hand_over_s = 0.01});
  writer.Write("late\n");
  std::string text;
  std::thread reads([&] { text = ReadAll(); });
  EXPECT_TRUE(writer.Flush(kAges));
  CloseWriter();
  reads.join();
  EXPECT_EQ(text, filled_ + "late\n");
}

TEST_F(TextWriterTest, AReaderThatIsGoneHoldsNobodyUp) {
  FillPipe();
  TextWriter writer({.fd = writer_, .hand_over_s = 0.01});
  writer.Write("nobody\n");
  EXPECT_FALSE(writer.Flush(0.01));
  close(reader_);
  reader_ = -1;
  EXPECT_TRUE(writer.Flush(kAges));
}

}  // namespace
}  // namespace blockstep
