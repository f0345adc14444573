#include "launcher/train/input_digests.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "core/base/status.h"
#include "core/io/file_ops.h"

namespace blockstep {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kAbc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr char kEmpty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

class InputDigestsTest : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }
  void Write(const std::string& name, const std::string& content) {
    std::ofstream(folder_ + name, std::ios::binary) << content;
  }
  InputFile File(const std::string& name, const std::string& sampled = "s") {
    return {"data." + name, folder_ + name, sampled};
  }
  InputDigestsOptions Options(std::vector<InputFile> files) {
    return {.files = std::move(files),
            .record = record_,
            .before = record_,
            .tell = [this](const std::string& text) { told_.push_back(text); },
            .mib_per_s = 1e6};
  }
  // To the end; what it said.
  std::vector<std::string> Take(const InputDigestsOptions& options) {
    told_.clear();
    InputDigests(options).Await();
    return told_;
  }
  const std::string folder_ =
      testing::TempDir() + "input_digests-" + std::to_string(getpid()) + "/";
  const std::string record_ = folder_ + "inputs.json";
  std::vector<std::string> told_;  // of the thread, read once it has ended
};

TEST_F(InputDigestsTest, RecordsWhatSha256sumPrints) {
  Write("a", "abc");
  Write("b", "");
  EXPECT_THAT(Take(Options({File("a"), File("b", "t")})), IsEmpty());
  const auto records = ReadInputRecords(record_);
  ASSERT_TRUE(records.ok()) << records.status();
  const InputRecord& a = records->at("data.a");
  EXPECT_EQ(a.path, folder_ + "a");
  EXPECT_EQ(a.bytes, 3);
  EXPECT_EQ(a.sampled_sha256, "s");
  EXPECT_EQ(a.sha256, kAbc);
  EXPECT_EQ(a.sha256_before, "");
  EXPECT_EQ(records->at("data.b").sha256, kEmpty);
  EXPECT_EQ(records->at("data.b").sampled_sha256, "t");
}

TEST_F(InputDigestsTest, TellsOfAnotherFileThatTheSampledDigestTookForTheSame) {
  Write("a", "abc");
  Take(Options({File("a")}));
  EXPECT_THAT(Take(Options({File("a")})), IsEmpty()) << "the same file again";
  Write("a", "");
  EXPECT_THAT(Take(Options({File("a")})),
              ElementsAre(testing::AllOf(
                  HasSubstr("warning: data.a has changed since this run started: " + folder_ + "a"),
                  HasSubstr(Cat("expected sha256 ", kAbc, ", got ", kEmpty)))));
  const InputRecord record = ReadInputRecords(record_)->at("data.a");
  EXPECT_EQ(record.sha256, kEmpty);
  EXPECT_EQ(record.sha256_before, kAbc);
  // Told once: from then on the run has this file. That it had another one stays on record.
  EXPECT_THAT(Take(Options({File("a")})), IsEmpty());
  EXPECT_EQ(ReadInputRecords(record_)->at("data.a").sha256_before, kAbc);
}

TEST_F(InputDigestsTest, DataThatWereChangedOnPurposeAreNotCompared) {
  Write("a", "abc");
  Take(Options({File("a", "sampled before")}));
  Write("a", "");
  EXPECT_THAT(Take(Options({File("a", "sampled now")})), IsEmpty());
  const InputRecord record = ReadInputRecords(record_)->at("data.a");
  EXPECT_EQ(record.sha256, kEmpty);
  EXPECT_EQ(record.sha256_before, "");
}

TEST_F(InputDigestsTest, ComparesWithAParentRunAndLeavesItsRecordAlone) {
  Write("a", "abc");
  Take(Options({File("a")}));
  InputDigestsOptions fork = Options({File("a")});
  fork.record = folder_ + "fork.json";
  Write("a", "");
  EXPECT_EQ(Take(fork).size(), 1u);
  EXPECT_EQ(ReadInputRecords(record_)->at("data.a").sha256, kAbc);
  EXPECT_EQ(ReadInputRecords(fork.record)->at("data.a").sha256, kEmpty);
}

// Training reads the file too, and says what is wrong with it.
TEST_F(InputDigestsTest, WhatCannotBeReadIsRecordedAndTheOthersAreTaken) {
  Write("b", "abc");
  EXPECT_THAT(Take(Options({File("a"), File("b")})), IsEmpty());
  const auto records = ReadInputRecords(record_);
  EXPECT_EQ(records->at("data.a").sha256, "");
  EXPECT_THAT(records->at("data.a").error, HasSubstr("cannot read " + folder_ + "a: "));
  EXPECT_EQ(records->at("data.b").sha256, kAbc);
  EXPECT_EQ(records->at("data.b").error, "");
  Write("a", "");
  Take(Options({File("a"), File("b")}));
  EXPECT_EQ(ReadInputRecords(record_)->at("data.a").error, "") << "of this start only";
  EXPECT_EQ(ReadInputRecords(record_)->at("data.a").sha256, kEmpty);
}

TEST_F(InputDigestsTest, ADamagedRecordIsToldAndReplaced) {
  Write("a", "abc");
  for (const char* text :
       {"{", "[]", R"({"format":"x"})",
        R"({"format":"blockstep-inputs","version":1,"files":{"a":{"path":3}}})"}) {
    Write("inputs.json", text);
    EXPECT_THAT(
        Take(Options({File("a")})),
        ElementsAre(HasSubstr("cannot compare the inputs with the run's recorded digests: ")))
        << text;
    EXPECT_EQ(ReadInputRecords(record_)->at("data.a").sha256, kAbc);
  }
}

TEST_F(InputDigestsTest, AFolderThatTakesNoRecordEndsNothing) {
  Write("a", "abc");
  InputDigestsOptions options = Options({File("a")});
  options.record = folder_ + "not there/inputs.json";
  EXPECT_THAT(Take(options), ElementsAre(HasSubstr("cannot record the digests of the inputs: ")));
}

// At a MiB a minute this would take ten: its end is not waited for, and what was known stays known.
TEST_F(InputDigestsTest, TheEndOfARunDoesNotWaitForIt) {
  Write("a", "abc");
  Take(Options({File("a")}));
  const std::string before = ReadSmall(record_).value();
  Write("large", std::string(10 << 20, 'x'));
  InputDigestsOptions options = Options({File("large"), File("a")});
  options.mib_per_s = 1.0 / 60;
  { InputDigests digests(options); }
  EXPECT_THAT(told_, IsEmpty());
  EXPECT_EQ(ReadSmall(record_).value(), before);
}

}  // namespace
}  // namespace blockstep
