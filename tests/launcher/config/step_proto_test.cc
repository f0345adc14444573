#include "launcher/config/step_proto.h"

#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace blockstep {
namespace {

using testing::HasSubstr;

TEST(StepProto, RoundTripAndRefusal) {
  Directive directive{.kind = DirectiveKind::kSweep, .from = 3, .through = 9, .phase = 2};
  directive.sets = {
      {{{.tensor = 1, .rows = {64, 128}, .role = Role::kFused, .rule = 1, .lr_scale = 0.1f}}}, {}};
  directive.probe_candidates = {4, 5};
  directive.probes_per_step = 1;
  directive.label = "layer 3";
  const auto back = FromProto(ToProto(directive));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->Hash(), directive.Hash());
  EXPECT_EQ(back->label, directive.label);

  proto::Directive wrong = ToProto(directive);
  wrong.mutable_sets(0)->mutable_entries(0)->set_role(7);
  EXPECT_THAT(std::string(FromProto(wrong).status().message()),
              HasSubstr("role: expected 0 to 2, got 7"));
  wrong = ToProto(directive);
  wrong.set_through(2);
  EXPECT_FALSE(FromProto(wrong).ok());

  const StepReport report{
      .step = 4,
      .loss_sum = 0.1,
      .tokens = 7,
      .nonfinite = 1,
      .norms = {{.tensor = 2, .role = Role::kProbe, .squared_norm = 1e-300, .elements = 5},
                {.tensor = 3, .squared_norm = 1, .elements = 5, .adam_squared_norm = 0.1},
                {.tensor = 4, .squared_norm = 1, .elements = 5, .adam_squared_norm = 0}}};
  const auto same = FromProto(ToProto(report));
  ASSERT_TRUE(same.ok());
  EXPECT_EQ(same->loss_sum, 0.1);
  EXPECT_EQ(same->norms[0].squared_norm, 1e-300);
  EXPECT_EQ(same->norms[0].role, Role::kProbe);
  EXPECT_EQ(same->norms[0].adam_squared_norm, -1) << "not measured stays so";
  EXPECT_EQ(same->norms[1].adam_squared_norm, 0.1);
  EXPECT_EQ(same->norms[2].adam_squared_norm, 0) << "measured as 0";
}

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
