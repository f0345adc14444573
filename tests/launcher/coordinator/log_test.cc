#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "launcher/coordinator/coordinator_log.h"
#include "tests/launcher/coordinator/test_run.h"

namespace blockstep {
namespace {

using testing::HasSubstr;

class Log : public testing::Test {
 protected:
  void SetUp() override {
    path_ = testing::TempDir() + "/blockstep_" +
            testing::UnitTest::GetInstance()->current_test_info()->name() + ".log";
    for (const char* end : {"", ".lock", ".tmp"}) std::filesystem::remove(path_ + end);
    LogContents contents;
    auto log = CoordinatorLog::Open(path_, &contents);
    ASSERT_TRUE(log.ok());
    EXPECT_TRUE(contents.fresh);
    proto::LogHeader header;
    header.set_run_id("run-1");
    ASSERT_TRUE((*log)->Rewrite(header).ok());
    for (int step = 0; step < 3; ++step) {
      whole_.push_back(static_cast<int64_t>(std::filesystem::file_size(path_)));
      proto::StepReport report;
      report.set_step(step);
      report.set_loss_sum(step + 0.5);
      ASSERT_TRUE((*log)->Append(report).ok());
    }
    whole_.push_back(static_cast<int64_t>(std::filesystem::file_size(path_)));
  }
  absl::StatusOr<LogContents> Open() {
    LogContents contents;
    auto log = CoordinatorLog::Open(path_, &contents);
    if (!log.ok()) return log.status();
    return contents;
  }
  std::string Bytes() const {
    std::stringstream text;
    text << std::ifstream(path_, std::ios::binary).rdbuf();
    return text.str();
  }
  void Flip(int64_t at) {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(at);
    const char was = static_cast<char>(file.get());
    file.seekp(at);
    file.put(static_cast<char>(was ^ 0x10));
  }
  std::string path_;
  std::vector<int64_t> whole_;  // sizes at which the file ends with a record
};

TEST_F(Log, GivesBackWhatWasAppended) {
  const auto contents = Open();
  ASSERT_TRUE(contents.ok());
  EXPECT_FALSE(contents->fresh);
  EXPECT_EQ(contents->header.run_id(), "run-1");
  ASSERT_EQ(contents->reports.size(), 3u);
  EXPECT_EQ(contents->reports[2].loss_sum(), 2.5);
}

TEST_F(Log, CutAnywhereKeepsTheWholeRecords) {
  const std::string bytes = Bytes();
  for (int64_t size = whole_.back(); size >= whole_[0]; --size) {
    LogContents contents;
    const auto read = ReadLog(std::string_view(bytes).substr(0, size), path_, &contents);
    ASSERT_TRUE(read.ok()) << size << ": " << read.status().ToString();
    size_t expected = 0;
    while (expected + 1 < whole_.size() && whole_[expected + 1] <= size) ++expected;
    EXPECT_EQ(contents.reports.size(), expected) << size;
    EXPECT_EQ(*read, whole_[expected]) << size;
  }
  // Blocks of the last record that a power cut left empty.
  LogContents contents;
  const std::string empty(static_cast<size_t>(whole_[3] - whole_[2]), '\0');
  EXPECT_EQ(*ReadLog(bytes.substr(0, whole_[2]) + empty, path_, &contents), whole_[2]);
}

TEST_F(Log, AppendsGoOnAfterATornEnd) {
  std::filesystem::resize_file(path_, whole_.back() - 3);
  LogContents contents;
  {
    auto log = CoordinatorLog::Open(path_, &contents);
    ASSERT_TRUE(log.ok());
    proto::StepReport report;
    report.set_step(2);
    ASSERT_TRUE((*log)->Append(report).ok());
  }
  const auto back = Open();
  ASSERT_TRUE(back.ok());
  ASSERT_EQ(back->reports.size(), 3u);
  EXPECT_EQ(back->reports[2].loss_sum(), 0.0);
}

// Every bit in turn: what was answered is never dropped without a word. In the last record damage
// looks like a write that a power cut tore.
TEST_F(Log, AnyBitThatFlipsBeforeTheLastRecordIsDataLoss) {
  const auto last = whole_[whole_.size() - 2];
  const std::string bytes = Bytes();
  for (int64_t at = 0; at < whole_.back(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      SCOPED_TRACE(Cat("bit ", bit, " of byte ", at));
      std::string flipped = bytes;
      flipped[static_cast<size_t>(at)] ^= static_cast<char>(1 << bit);
      LogContents contents;
      const auto whole = ReadLog(flipped, path_, &contents);
      if (at >= last) {
        ASSERT_TRUE(whole.ok()) << whole.status().ToString();
        EXPECT_EQ(*whole, last);
        EXPECT_EQ(contents.reports.size(), 2u);
        continue;
      }
      ASSERT_EQ(whole.status().code(), absl::StatusCode::kDataLoss);
      int64_t record = 0;
      for (const int64_t end : {int64_t{8}, whole_[0], whole_[1]})
        record = at >= end ? end : record;
      EXPECT_THAT(std::string(whole.status().message()), HasSubstr(Cat("byte ", record, ":")));
    }
  }
}

TEST_F(Log, DamageIsRefusedAndLeftAlone) {
  Flip(whole_[1] + 14);  // inside the second report's payload
  EXPECT_EQ(Open().status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(static_cast<int64_t>(std::filesystem::file_size(path_)), whole_.back());
}

TEST_F(Log, AnotherFileIsRefusedAndLeftAlone) {
  std::ofstream(path_, std::ios::trunc) << "my thesis, the only copy";
  EXPECT_EQ(Open().status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Bytes(), "my thesis, the only copy");
}

TEST_F(Log, OneCoordinatorAtATime) {
  LogContents contents;
  const auto held = CoordinatorLog::Open(path_, &contents);
  ASSERT_TRUE(held.ok());
  const absl::Status second = Open().status();
  EXPECT_EQ(second.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(second.message()),
              HasSubstr(Cat("another coordinator has it open: process ", getpid(), " on ")));
}

DecisionsOptions Options(const std::string& path) {
  DecisionsOptions o = ServerOptions(path).run.decisions;
  o.reports_per_header = 5;
  return o;
}

TEST_F(Log, DecisionsContinueAtEveryStep) {
  std::filesystem::remove(path_);
  RisingLossPolicy oracle(1);
  std::vector<Directive> expected = oracle.Start();
  for (int64_t step = 0; step < 23; ++step) {  // a restart before every report
    auto decisions = Decisions::Create(Options(path_));
    ASSERT_TRUE(decisions.ok()) << decisions.status().ToString();
    EXPECT_EQ((*decisions)->term(), step + 1);
    EXPECT_EQ((*decisions)->next_step(), step);
    ASSERT_TRUE((*decisions)->Accept(ReportOf(step)).ok());
    expected.push_back(oracle.OnReport(ReportOf(step))[0]);
    EXPECT_EQ((*decisions)->directives().back().Hash(), expected.back().Hash());
    const auto snapshot = (*decisions)->Snapshot(step + 1);
    ASSERT_TRUE(snapshot.ok());
    EXPECT_EQ(snapshot->policy_state, oracle.SaveState());
    EXPECT_EQ(snapshot->directives.size(), 2u);
  }
}

TEST_F(Log, OfAnotherRunIsRefused) {
  std::filesystem::remove(path_);
  ASSERT_TRUE(Decisions::Create(Options(path_)).ok());
  DecisionsOptions other = Options(path_);
  other.config_hash = "hash-2";
  EXPECT_THAT(std::string(Decisions::Create(other).status().message()),
              HasSubstr("config_hash: expected hash-2, got hash-1"));
  other = Options(path_);
  other.run_id = "run-2";
  EXPECT_THAT(std::string(Decisions::Create(other).status().message()),
              HasSubstr("run_id: expected run-2, got run-1"));
  other = Options(path_);
  other.build = "build-2";
  EXPECT_THAT(std::string(Decisions::Create(other).status().message()), HasSubstr("build"));
}

TEST_F(Log, OldDirectivesAreForgotten) {
  auto decisions = Decisions::Create(Options(""));
  ASSERT_TRUE(decisions.ok());
  for (int64_t step = 0; step < 1000; ++step) {
    ASSERT_TRUE((*decisions)->Accept(ReportOf(step)).ok());
  }
  EXPECT_LT((*decisions)->directives().size(), 100u);
  EXPECT_EQ((*decisions)->directives().back().through, 1001);
  EXPECT_EQ(
      (*decisions)->first_sequence() + static_cast<int64_t>((*decisions)->directives().size()),
      1002);
}

}  // namespace
}  // namespace blockstep
