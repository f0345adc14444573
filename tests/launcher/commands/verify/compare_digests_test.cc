// Digest files made by hand: parts of ranks add up, and the first record that differs is told.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "core/base/str.h"
#include "launcher/commands/verify/bisect.h"

namespace blockstep::testing {
namespace {

OpDigest Digest(int64_t first, const std::vector<uint64_t>& bits) {
  OpDigest digest;
  for (const uint64_t b : bits) digest.Add(first++, b);
  return digest;
}

// Files of a run, one per rank.
DigestedRun Write(const std::string& name, const std::vector<std::vector<OpRecord>>& ranks) {
  DigestedRun run{name, ::testing::TempDir() + "/compare-" + name};
  for (size_t r = 0; r < ranks.size(); ++r) {
    std::ofstream out(OpDigestPath(run.path, static_cast<int>(r)));
    for (const OpRecord& record : ranks[r]) out << OpRecordLine(record);
  }
  std::filesystem::remove(OpDigestPath(run.path, static_cast<int>(ranks.size())));
  return run;
}

OpRecord Slot(int64_t step, int64_t slot, int64_t op, uint64_t bits) {
  return {{step, 0, StepPart::kSlot, slot, op}, Digest(0, {bits}), Cat("op ", op)};
}
OpRecord Update(int64_t step, const OpDigest& digest) {
  return {{step, 0, StepPart::kUpdate, -1, 16}, digest, "update: m of w"};
}

TEST(OpDigest, PartsAddUpAndPlacesCount) {
  OpDigest parts = Digest(2, {7, 9});
  parts.Add(Digest(0, {5, 7}));
  EXPECT_EQ(parts, Digest(0, {5, 7, 7, 9}));
  EXPECT_NE(Digest(0, {5, 7}).sum, Digest(0, {7, 5}).sum);
  EXPECT_NE(Digest(0, {5}).sum, Digest(1, {5}).sum);
  EXPECT_NE(Digest(0, {0}), OpDigest{});
}

TEST(OpRecord, AsALineAndBack) {
  const OpRecord record{
      {3, 1, StepPart::kSlot, 17, 4}, Digest(0, {~0ull}), "forward layer 1: rope"};
  std::string line = OpRecordLine(record);
  ASSERT_EQ(line.back(), '\n');
  line.pop_back();
  const auto back = ParseOpRecord(line);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->key, record.key);
  EXPECT_EQ(back->digest, record.digest);
  EXPECT_EQ(back->label, record.label);
  for (const char* wrong : {"", "3 1 1 17 4 5", "3 1 9 17 4 5 1 rope", "3 1 1 x 4 5 1 rope"}) {
    EXPECT_TRUE(absl::IsDataLoss(ParseOpRecord(wrong).status())) << wrong;
  }
}

TEST(CompareDigests, RanksDoNotShow) {
  const auto one = Write("one", {{Slot(0, 0, 0, 1), Slot(0, 0, 1, 2), Slot(0, 1, 0, 3),
                                  Update(0, Digest(0, {4, 5, 6})), Slot(1, 2, 0, 7)}});
  const auto two = Write("two", {{Slot(0, 0, 0, 1), Slot(0, 0, 1, 2), Update(0, Digest(0, {4, 5}))},
                                 {Slot(0, 1, 0, 3), Update(0, Digest(2, {6})), Slot(1, 2, 0, 7)}});
  const auto compared = CompareDigests(one, two);
  ASSERT_TRUE(compared.ok()) << compared.status();
  EXPECT_EQ(compared->Text(), "all 5 digests of 2 steps agree");
}

TEST(CompareDigests, TheFirstInProgramOrder) {
  const std::vector<OpRecord> good = {Slot(0, 0, 0, 1), Slot(1, 1, 0, 2), Slot(1, 2, 0, 3),
                                      Slot(1, 2, 1, 4), Update(1, Digest(0, {5, 6}))};
  const auto one = Write("good", {good});
  const auto first = [&](const std::vector<std::vector<OpRecord>>& ranks) {
    const auto compared = CompareDigests(one, Write("other", ranks));
    EXPECT_TRUE(compared.ok()) << compared.status();
    const std::string text = compared->Text();
    return text.substr(0, text.find('\n'));
  };
  // Slot 2 and the update differ; slot 2 comes first, wherever it was computed.
  EXPECT_EQ(first({{good[0], Slot(1, 2, 0, 3), Slot(1, 2, 1, 9), Update(1, Digest(0, {9, 6}))},
                   {Slot(1, 1, 0, 2)}}),
            "first difference: step 1, slot 2, op 1");
  EXPECT_EQ(first({{good[0], good[1], good[2], good[3], Update(1, Digest(0, {5}))}}),
            "first difference: step 1, update: m of w");
  // An op too few, an op too many, a slot twice, another op in its place, a run that ended sooner.
  EXPECT_EQ(first({{good[0], good[2], good[3], good[4]}}),
            "first difference: step 1, slot 1, op 0");
  EXPECT_EQ(first({{good[0], Slot(0, 0, 1, 8), good[1], good[2], good[3], good[4]}}),
            "first difference: step 0, slot 0, op 1");
  EXPECT_EQ(first({good, {good[0]}}), "first difference: step 0, slot 0, op 0");
  OpRecord renamed = good[1];
  renamed.label = "another op";
  EXPECT_EQ(first({{good[0], renamed, good[2], good[3], good[4]}}),
            "first difference: step 1, slot 1, op 0");
  EXPECT_EQ(first({{good[0]}}), "first difference: step 1, slot 1, op 0");
}

}  // namespace
}  // namespace blockstep::testing
