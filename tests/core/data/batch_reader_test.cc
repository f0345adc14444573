#include "core/data/batch_reader.h"

#include <gmock/gmock.h>

#include "tests/core/data/token_files.h"

namespace blockstep {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kTokens = 4;  // T

BatchReader MakeReader(const std::vector<uint32_t>& ids, BatchReaderOptions options) {
  auto file = TokenFile::Open({.path = WriteBytes("a.raw", Ids(ids, 2)), .vocab_size = 65536});
  EXPECT_TRUE(file.ok()) << file.status();
  auto reader = BatchReader::Create(std::move(*file), options);
  EXPECT_TRUE(reader.ok()) << reader.status();
  return std::move(*reader);
}

std::vector<uint32_t> Counting(int64_t tokens) {
  std::vector<uint32_t> ids(tokens);
  for (int64_t i = 0; i < tokens; ++i) ids[i] = static_cast<uint32_t>(i);
  return ids;
}

struct Batch {
  explicit Batch(int64_t slots)
      : inputs(slots * kTokens), targets(slots * kTokens), keys(slots * kTokens) {}
  BatchBuffers buffers() { return {inputs.data(), targets.data(), keys.data()}; }
  std::vector<int32_t> inputs, targets, keys;
};

TEST(BatchReader, SlotIsTokensFromITWithStrideT) {
  const BatchReader reader = MakeReader(
      Counting(13), {.slot_tokens = kTokens, .order = SlotOrderKind::kFile, .eos = 65535});
  ASSERT_EQ(reader.order().slots(), 3);
  Batch batch(2);
  const auto record = reader.Read({1, 3}, batch.buffers());
  ASSERT_TRUE(record.ok()) << record.status();
  EXPECT_THAT(batch.inputs, ElementsAre(4, 5, 6, 7, 8, 9, 10, 11));
  EXPECT_THAT(batch.targets, ElementsAre(5, 6, 7, 8, 9, 10, 11, 12));
  EXPECT_EQ(record->at(0).position, 1);
  EXPECT_EQ(record->at(1).ref, (SlotRef{0, 2}));
}

TEST(BatchReader, TooShortForOneSlot) {
  auto file = TokenFile::Open({.path = WriteBytes("a.raw", Ids(Counting(4), 2)), .vocab_size = 9});
  ASSERT_TRUE(file.ok());
  const auto reader = BatchReader::Create(std::move(*file), {.slot_tokens = kTokens});
  EXPECT_EQ(reader.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(reader.status().message()),
              HasSubstr("expected at least 5 tokens (sequence length + 1), got 4"));
}

// Documents 1 2 E | 3 E | E | 4 5 : positions after an EOS start a document; the EOS itself belongs
// to the document it ends, and a bound never reaches into another slot.
TEST(BatchReader, DocumentBounds) {
  const std::vector<int32_t> inputs = {1, 2, 0, 3, 0, 0, 4, 5};
  std::vector<int32_t> keys(inputs.size(), -1);
  DocumentBounds(inputs.data(), 8, /*eos=*/0, keys.data());
  EXPECT_THAT(keys, ElementsAre(0, 0, 0, 3, 3, 5, 6, 6));
}

TEST(BatchReader, BoundsStartAfreshInEachSlot) {
  const BatchReader reader =
      MakeReader({9, 0, 9, 0, 9, 9, 0, 9, 9},
                 {.slot_tokens = kTokens, .order = SlotOrderKind::kFile, .eos = 0});
  Batch batch(2);
  ASSERT_TRUE(reader.Read({0, 2}, batch.buffers()).ok());
  EXPECT_THAT(batch.keys, ElementsAre(0, 0, 2, 2, 0, 0, 0, 3));
}

TEST(BatchReader, NullBoundsAndEmptyRange) {
  const BatchReader reader = MakeReader(Counting(13), {.slot_tokens = kTokens});
  Batch batch(1);
  BatchBuffers buffers = batch.buffers();
  buffers.first_key = nullptr;
  EXPECT_TRUE(reader.Read({5, 6}, buffers).ok());
  const auto record = reader.Read({7, 7}, {});
  ASSERT_TRUE(record.ok());
  EXPECT_TRUE(record->empty());
}

// Two files of 2 and 1 slots are slots 0, 1 and 2; no slot crosses from one file into the next.
TEST(BatchReader, SeveralFilesAreOneOrder) {
  std::vector<TokenFile> files;
  for (const auto& [name, ids] : {std::pair("a.raw", Ids(Counting(10), 2)),
                                  std::pair("b.raw", Ids({50, 51, 52, 53, 54, 55}, 2))}) {
    files.push_back(*TokenFile::Open({.path = WriteBytes(name, ids), .vocab_size = 60}));
  }
  const auto reader = BatchReader::Create(
      std::move(files), {.slot_tokens = kTokens, .order = SlotOrderKind::kFile, .eos = 59});
  ASSERT_TRUE(reader.ok()) << reader.status();
  Batch batch(3);
  ASSERT_TRUE(reader->Read({0, 3}, batch.buffers()).ok());
  EXPECT_THAT(batch.inputs, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 50, 51, 52, 53));
  EXPECT_THAT(batch.targets, ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 51, 52, 53, 54));
}

// Ranks read contiguous parts of a step; together they read what one rank reads, in its order, for
// every number of ranks and also where the parts are ragged.
TEST(BatchReader, EverySplitOverRanksReadsTheSame) {
  const BatchReader reader =
      MakeReader(Counting(4 * 11 + 1), {.slot_tokens = kTokens, .seed = 5, .eos = 3});
  const int64_t per_step = 7;
  for (int64_t step = 0; step < 5; ++step) {
    const Range all = {step * per_step, (step + 1) * per_step};
    Batch whole(per_step);
    ASSERT_TRUE(reader.Read(all, whole.buffers()).ok());
    for (int64_t ranks = 1; ranks <= 9; ++ranks) {
      std::vector<int32_t> inputs, targets, keys;
      for (int64_t rank = 0; rank < ranks; ++rank) {
        const Range part = SplitEvenly(per_step, ranks, rank);
        Batch batch(part.size());
        ASSERT_TRUE(
            reader.Read({all.begin + part.begin, all.begin + part.end}, batch.buffers()).ok());
        inputs.insert(inputs.end(), batch.inputs.begin(), batch.inputs.end());
        targets.insert(targets.end(), batch.targets.begin(), batch.targets.end());
        keys.insert(keys.end(), batch.keys.begin(), batch.keys.end());
      }
      EXPECT_EQ(inputs, whole.inputs) << "step " << step << " ranks " << ranks;
      EXPECT_EQ(targets, whole.targets);
      EXPECT_EQ(keys, whole.keys);
    }
  }
}

}  // namespace
}  // namespace blockstep
