// What a run folder keeps of a configuration: absolute paths, and maths that earlier builds wrote.
#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "launcher/config/train_config.h"
#include "launcher/config/train_config_internal.h"
#include "tests/launcher/config/all_fields.h"

namespace blockstep {
namespace {

namespace fs = std::filesystem;
using google::protobuf::FieldDescriptor;
using testing::HasSubstr;
using testing::Not;

std::string Under(const fs::path& folder, const char* name) { return (folder / name).string(); }

TEST(RunConfigText, HasFilesByAbsolutePaths) {
  TrainConfig config;
  config.model.path = "weights/./first";
  config.data.train = {"a.bin", "/data/b.bin", "../c.bin"};
  config.data.val = {"v.bin"};
  config.runtime.trace = "trace";
  config.coordinator.tls_ca = config.coordinator.tls_cert = config.coordinator.tls_key = "tls.pem";
  const fs::path here = fs::current_path();
  const auto kept = ParseTrainConfig(RunConfigText(config), "config.txt");
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_EQ(kept->model.path, Under(here, "weights/first"));
  EXPECT_THAT(kept->data.train, testing::ElementsAre(Under(here, "a.bin"), "/data/b.bin",
                                                     Under(here.parent_path(), "c.bin")));
  EXPECT_THAT(kept->data.val, testing::ElementsAre(Under(here, "v.bin")));
  EXPECT_EQ(kept->runtime.trace, Under(here, "trace"));
  EXPECT_EQ(kept->coordinator.tls_key, Under(here, "tls.pem"));
  EXPECT_EQ(kept->model.config, "") << "what was not given stays so";
  // Another spelling of the same run.
  EXPECT_EQ(MathsText(*kept), MathsText(config));
  EXPECT_EQ(ConfigHash(*kept, {}), ConfigHash(config, {}));
  EXPECT_EQ(SharedText(*kept), SharedText(config));
}

// A field of files that is not marked would stay relative.
TEST(RunConfigText, EveryTextFieldIsAFileOrKnownNotToBe) {
  std::vector<std::string> other;
  for (const FieldInfo& field : AllFields(proto::TrainConfig::descriptor())) {
    if (field.field->cpp_type() != FieldDescriptor::CPPTYPE_STRING) continue;
    if (!field.field->options().GetExtension(proto::file_name)) other.push_back(field.path);
  }
  EXPECT_THAT(other, testing::ElementsAre("model.preset", "policy.phase.entry.tensor",
                                          "coordinator.address", "coordinator.http_address"));
}

TEST(MathsText, AFieldThatCameLaterIsThereOnlyWithAnotherValueThanItsAbsenceMeant) {
  TrainConfig config;
  const std::string before = MathsText(config);
  EXPECT_THAT(before, Not(HasSubstr("weight_decay_on")));
  EXPECT_THAT(before, HasSubstr("optimizer.weight_decay: 0.1\n"));
  EXPECT_THAT(PrintTrainConfig(config), HasSubstr("weight_decay_on: matrices"));
  // Of the defaults, as the builds before that field had them.
  EXPECT_EQ(HashOfText(before), "9be816cd324681ea");
  config.optimizer.weight_decay_on = DecayOn::kAll;
  const std::string all = MathsText(config), line = "optimizer.weight_decay_on: all\n";
  ASSERT_THAT(all, HasSubstr(line));
  EXPECT_EQ(std::string(all).erase(all.find(line), line.size()), before);
}

// The value must be one of the field's, or it would never be left out.
TEST(MathsText, WhatAbsenceMeantIsAValue) {
  int fields = 0;
  for (const FieldInfo& field : AllFields(proto::TrainConfig::descriptor())) {
    if (!field.field->options().HasExtension(proto::absent_means)) continue;
    ++fields;
    EXPECT_EQ(field.kind, proto::MATHS) << field.path;
    const std::string value = field.field->options().GetExtension(proto::absent_means);
    EXPECT_TRUE(ParseTrainConfig("model { preset: \"9m\" }", "", {field.path + "=" + value}).ok());
  }
  EXPECT_EQ(fields, 1);
}

TEST(MathsText, EarlierWordsBecomeTodays) {
  const std::string was =
      "model.weights: 2 files, sha256 aa\ndata.train[0]: 9 tokens, sha256 bb\n"
      "data.train[1]: 9 tokens, sampled sha256 cc\ntrain.steps: 3\n";
  const std::string now =
      "model.weights: 2 files, sampled sha256 aa\n"
      "data.train[0]: 9 tokens, sampled sha256 bb\n"
      "data.train[1]: 9 tokens, sampled sha256 cc\ntrain.steps: 3\n";
  EXPECT_EQ(UpgradeMathsText(was, 1), now);
  EXPECT_EQ(UpgradeMathsText(now, 1), now);
  EXPECT_EQ(UpgradeMathsText(was, kMathsVersion), was);
  EXPECT_EQ(UpgradeMathsText("", 1), "");
}

}  // namespace
}  // namespace blockstep
