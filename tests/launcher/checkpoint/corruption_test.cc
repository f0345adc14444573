// Each kind of damage is found before a byte is used, and named.
#include "launcher/checkpoint/manifest.h"
#include "launcher/checkpoint/retention.h"
#include "tests/launcher/checkpoint/checkpoint_fixture.h"

namespace blockstep {
namespace {

class Corruption : public testing::Test {
 protected:
  void SetUp() override {
    ExpectOk(SaveFrom(2, run_.path(), 10, 7, {.max_slice_bytes = 1000}));
    folder_ = CheckpointFolder(run_.path(), 10);
  }
  void Flip(const std::string& name, int64_t offset) {
    std::string text = ReadText(folder_ + "/" + name);
    ASSERT_LT(offset, static_cast<int64_t>(text.size()));
    text[static_cast<size_t>(offset < 0 ? static_cast<int64_t>(text.size()) + offset : offset)] ^=
        0x10;
    WriteText(folder_ + "/" + name, text);
  }
  // The manifest with `from` replaced, its own hash made right again.
  void Rewrite(const std::string& from, const std::string& to) {
    std::string text = ReadText(folder_ + "/MANIFEST.json");
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos);
    text.replace(at, from.size(), to);
    WriteText(folder_ + "/MANIFEST.json", text);
  }
  TemporaryFolder run_;
  std::string folder_;
};

TEST_F(Corruption, Truncated) {
  std::filesystem::resize_file(folder_ + "/model.safetensors", 5000);
  ExpectError(LoadInto(3, folder_, 7), absl::StatusCode::kDataLoss,
              {"rank 0", "model.safetensors", "truncated", "got 5000"});
}

TEST_F(Corruption, FlippedByteInAWeightIsFoundByItsReader) {
  Flip("model.safetensors", -1);  // q_proj is last by name? whoever owns it reports
  ExpectError(LoadInto(3, folder_, 7), absl::StatusCode::kDataLoss,
              {"model.safetensors: corrupt", "rows ["});
}

TEST_F(Corruption, FlippedByteInState) {
  Flip("state/state.safetensors", -1);
  ExpectError(LoadInto(2, folder_, 7), absl::StatusCode::kDataLoss,
              {"state/state.safetensors: corrupt", " state "});
}

TEST_F(Corruption, FlippedByteInHeaderAndInSmallFiles) {
  for (const char* name : {"model.safetensors", "config.json", "trainer_state.pb"}) {
    Flip(name, 9);
    ExpectError(LoadInto(2, folder_, 7), absl::StatusCode::kDataLoss, {name, "corrupt"});
    Flip(name, 9);
  }
  ExpectOk(LoadInto(2, folder_, 7));
}

TEST_F(Corruption, EveryByteOfTheDataIsCovered) {
  // Whatever is flipped, VerifyCheckpoint sees it; a stride keeps the test short.
  for (const char* name : {"model.safetensors", "state/state.safetensors"}) {
    const int64_t size = static_cast<int64_t>(std::filesystem::file_size(folder_ + "/" + name));
    for (int64_t offset = 0; offset < size; offset += size / 40) {
      Flip(name, offset);
      EXPECT_FALSE(VerifyCheckpoint(folder_).ok()) << name << " byte " << offset;
      Flip(name, offset);
    }
  }
  EXPECT_TRUE(VerifyCheckpoint(folder_).ok());
}

TEST_F(Corruption, MissingFile) {
  std::filesystem::remove(folder_ + "/state/state.safetensors");
  ExpectError(LoadInto(2, folder_, 7), absl::StatusCode::kDataLoss,
              {"missing file state/state.safetensors"});
}

TEST_F(Corruption, NoManifest) {
  std::filesystem::remove(folder_ + "/MANIFEST.json");
  ExpectError(LoadInto(2, folder_, 7), absl::StatusCode::kNotFound, {"MANIFEST.json"});
  EXPECT_TRUE(absl::IsDataLoss(LatestCheckpoint(run_.path()).status()));
}

TEST_F(Corruption, ARunThatSavedIsNotTakenForOneThatDidNot) {
  const std::string checkpoints = run_.path() + "/checkpoints";
  std::filesystem::remove_all(folder_);
  EXPECT_TRUE(absl::IsDataLoss(LatestCheckpoint(run_.path()).status()));
  std::filesystem::remove_all(checkpoints);
  EXPECT_TRUE(absl::IsDataLoss(LatestCheckpoint(run_.path()).status()));
  // Nothing was announced here, as far as anybody knows; but what is there cannot be listed.
  std::filesystem::remove(run_.path() + "/" + kSavedName);
  EXPECT_TRUE(absl::IsNotFound(LatestCheckpoint(run_.path()).status()));
  WriteText(checkpoints, "a file");
  EXPECT_TRUE(absl::IsDataLoss(LatestCheckpoint(run_.path()).status()));
  std::filesystem::remove(checkpoints);
  std::filesystem::create_symlink("/no/where", checkpoints);
  EXPECT_TRUE(absl::IsDataLoss(LatestCheckpoint(run_.path()).status()));
}

TEST_F(Corruption, ASaveThatDiedBeforeItsAnnouncementIsNoCheckpoint) {
  std::filesystem::remove(folder_ + "/MANIFEST.json");
  std::filesystem::remove(run_.path() + "/" + kSavedName);
  std::string passed_over;
  EXPECT_TRUE(absl::IsNotFound(LatestCheckpoint(run_.path(), &passed_over).status()));
  EXPECT_THAT(passed_over, testing::HasSubstr(folder_));
}

TEST_F(Corruption, ANewerDamagedOneIsPassedOverAndNamed) {
  ExpectOk(SaveFrom(1, run_.path(), 20, 7));
  const std::string newer = CheckpointFolder(run_.path(), 20);
  WriteText(newer + "/MANIFEST.json", "{");
  std::string passed_over;
  const auto latest = LatestCheckpoint(run_.path(), &passed_over);
  ASSERT_TRUE(latest.ok()) << latest.status();
  EXPECT_EQ(latest->folder, folder_);
  EXPECT_THAT(passed_over, testing::HasSubstr(newer + "/MANIFEST.json: not a"));
}

TEST_F(Corruption, TornAndForgedManifests) {
  const std::string whole = ReadText(folder_ + "/MANIFEST.json");
  for (const size_t keep : {size_t{0}, size_t{1}, whole.size() / 2, whole.size() - 3}) {
    WriteText(folder_ + "/MANIFEST.json", whole.substr(0, keep));
    EXPECT_EQ(ReadManifest(folder_).status().code(), absl::StatusCode::kDataLoss) << keep;
    const absl::Status latest = LatestCheckpoint(run_.path()).status();
    EXPECT_TRUE(absl::IsDataLoss(latest)) << latest;
    EXPECT_THAT(std::string(latest.message()), testing::HasSubstr(folder_ + "/MANIFEST.json"));
  }
  WriteText(folder_ + "/MANIFEST.json", whole);
  Rewrite("\"step\": 10", "\"step\": 11");
  EXPECT_THAT(std::string(ReadManifest(folder_).status().message()), testing::HasSubstr("corrupt"));
}

TEST_F(Corruption, NewerFormatIsNotSilentlySkipped) {
  ExpectOk(SaveFrom(1, run_.path(), 5, 7));
  Rewrite("\"version\": 1", "\"version\": 2");
  ExpectError(LoadInto(2, folder_, 7), absl::StatusCode::kUnimplemented,
              {"expected format version 1, got 2"});
  EXPECT_TRUE(absl::IsUnimplemented(LatestCheckpoint(run_.path()).status()));
}

TEST_F(Corruption, ManifestThatLeavesItsFolderIsRefused) {
  Manifest manifest = *ReadManifest(folder_);
  manifest.files[0].name = "../../etc/passwd";
  WriteText(folder_ + "/MANIFEST.json", ManifestJson(manifest));
  EXPECT_THAT(std::string(ReadManifest(folder_).status().message()),
              testing::HasSubstr("lies outside the checkpoint"));
}

TEST_F(Corruption, ManifestWithHolesIsRefused) {
  Manifest manifest = *ReadManifest(folder_);
  manifest.tensors[1].slices.erase(manifest.tensors[1].slices.begin() + 1);
  WriteText(folder_ + "/MANIFEST.json", ManifestJson(manifest));
  EXPECT_EQ(ReadManifest(folder_).status().code(), absl::StatusCode::kDataLoss);
  manifest = Manifest{};
}

TEST_F(Corruption, WrongModel) {
  const auto load_as = [&](const std::function<void(TensorTable&)>& change) {
    return RunRanks(2, [&](Communicator* group) -> absl::Status {
      RankState rank(2, group->rank());
      TensorTable table = rank.table;
      change(table);
      OwnedWeights weights = rank.Weights();
      weights.table = &table;
      ASSIGN_OR_RETURN(const auto reader, CheckpointReader::Open(folder_, group));
      return reader->LoadWeights(weights);
    });
  };
  const auto code = absl::StatusCode::kDataLoss;
  ExpectError(load_as([](TensorTable& t) { t.tensors[3].cols = 512; }), code,
              {"model mismatch", "down_proj.weight (24, 512), got ", "(24, 768)"});
  ExpectError(load_as([](TensorTable& t) { t.tensors.pop_back(); }), code,
              {"unexpected tensor lm_head.weight"});
  ExpectError(load_as([](TensorTable& t) { t.tensors.push_back({.name = "more", .rows = 1}); }),
              code, {"expected 7 tensors, got 6", "more"});
}

}  // namespace
}  // namespace blockstep
