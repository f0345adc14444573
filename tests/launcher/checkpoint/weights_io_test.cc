#include "launcher/checkpoint/weights_io.h"

#include <bit>

#include "core/data/safetensors_header.h"
#include "launcher/checkpoint/content_sha256.h"
#include "launcher/checkpoint/retention.h"
#include "tests/launcher/checkpoint/checkpoint_fixture.h"

namespace blockstep {
namespace {

using testing::HasSubstr;

class Exported : public testing::Test {
 protected:
  void SetUp() override {
    ExpectOk(SaveFrom(3, root_.path(), 10, 7, {.max_file_bytes = 40'000}));
    checkpoint_ = CheckpointFolder(root_.path(), 10);
    folder_ = root_.path() + "/export";
  }
  TemporaryFolder root_;
  std::string checkpoint_, folder_;
};

TEST_F(Exported, WeightsReturnOnAnyNumberOfRanks) {
  ASSERT_TRUE(ExportWeights(checkpoint_, folder_).ok());
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/state"));
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/trainer_state.pb"));
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/model.safetensors.index.json"));
  EXPECT_EQ(*WeightsSha256OfFolder(folder_), *WeightsSha256OfFolder(checkpoint_));
  for (const int ranks : {1, 4}) {
    ExpectOk(RunRanks(ranks, [&](Communicator* group) -> absl::Status {
      RankState rank(ranks, group->rank());
      RETURN_IF_ERROR(LoadHuggingFaceWeights(folder_, rank.Weights(), group));
      ASSIGN_OR_RETURN(const std::string hash, WeightsSha256(rank.Weights(), group));
      EXPECT_EQ(hash, *WeightsSha256OfFolder(folder_));
      return absl::OkStatus();
    }));
  }
}

TEST_F(Exported, NothingIsOverwrittenAndDamageIsNotExported) {
  WriteText(folder_ + "/mine.txt", "x");
  EXPECT_EQ(ExportWeights(checkpoint_, folder_).code(), absl::StatusCode::kAlreadyExists);
  std::string text = ReadText(checkpoint_ + "/state/state-00001-of-00004.safetensors");
  ASSERT_FALSE(text.empty());
  text.back() ^= 1;
  WriteText(checkpoint_ + "/state/state-00001-of-00004.safetensors", text);
  EXPECT_EQ(ExportWeights(checkpoint_, root_.path() + "/other").code(),
            absl::StatusCode::kDataLoss);
  EXPECT_FALSE(std::filesystem::exists(root_.path() + "/other"));
}

TEST_F(Exported, ErrorsOfOneRankAreEveryones) {
  ExpectError(RunRanks(3,
                       [&](Communicator* group) {
                         RankState rank(3, group->rank());
                         return LoadHuggingFaceWeights(
                             group->rank() == 1 ? "/nowhere" : checkpoint_, rank.Weights(), group);
                       }),
              absl::StatusCode::kNotFound, {"rank 1", "/nowhere"});
}

TEST(Convert, F32ToBf16RoundsToNearestEven) {
  const TemporaryFolder root;
  TensorTable table;
  table.tensors = {{.name = "w", .rows = 5, .cols = 1, .vector = true}};
  table.units = {{"embedding", UnitKind::kEmbedding, -1, {0}}};
  const std::vector<uint32_t> bits = {0x3f808000,   // tie: stays even, 0x3f80
                                      0x3f818000,   // tie: goes to even, 0x3f82
                                      0x3f808001,   // above the tie: 0x3f81
                                      0x7f800001,   // NaN stays one
                                      0xff7fffff};  // overflows to -inf
  const SafetensorsLayout layout =
      MakeSafetensorsLayout({{.name = "w", .dtype = "F32", .shape = {5}}});
  WriteText(root.path() + "/model.safetensors",
            layout.header + std::string(reinterpret_cast<const char*>(bits.data()), 20));
  std::vector<uint16_t> room(5);
  const OwnedWeights weights{&table,
                             [&](int) { return TensorView::Of(room.data(), DType::kBF16, 5, 1); },
                             [](int) {
                               return Range{0, 5};
                             }};
  ExpectOk(RunRanks(
      1, [&](Communicator* group) { return LoadHuggingFaceWeights(root.path(), weights, group); }));
  EXPECT_THAT(room, testing::ElementsAre(0x3f80, 0x3f82, 0x3f81, 0x7fc0, 0xff80));
}

}  // namespace
}  // namespace blockstep
