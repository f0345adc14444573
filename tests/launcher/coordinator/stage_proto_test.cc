// The stages of a run and the wire's: one to one, each with a name of its own.
#include "launcher/coordinator/stage_proto.h"

#include <set>
#include <string>

#include "gtest/gtest.h"

namespace blockstep {
namespace {

TEST(Stage, EveryValueOfTheWireIsAStageAndBack) {
  const auto* wire = proto::Stage_descriptor();
  ASSERT_EQ(static_cast<size_t>(wire->value_count()), kRunStages.size());
  std::set<RunStage> seen;
  for (int i = 0; i < wire->value_count(); ++i) {
    const auto value = static_cast<proto::Stage>(wire->value(i)->number());
    EXPECT_TRUE(seen.insert(FromProto(value)).second) << wire->value(i)->name();
    EXPECT_EQ(ToProto(FromProto(value)), value) << wire->value(i)->name();
  }
}

TEST(Stage, EveryStageSurvivesTheWireAndHasAName) {
  std::set<std::string_view> names;
  for (const RunStage stage : kRunStages) {
    EXPECT_EQ(FromProto(ToProto(stage)), stage) << RunStageName(stage);
    EXPECT_FALSE(RunStageName(stage).empty()) << static_cast<int>(stage);
    EXPECT_TRUE(names.insert(RunStageName(stage)).second) << RunStageName(stage);
  }
}

TEST(Stage, AValueOfAnotherBuildIsUnknown) {
  EXPECT_EQ(FromProto(static_cast<proto::Stage>(99)), RunStage::kUnknown);
}

}  // namespace
}  // namespace blockstep
